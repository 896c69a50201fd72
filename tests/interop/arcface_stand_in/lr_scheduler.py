"""Stand-in: linear warm-up and polynomial decay, handing on `verbose` as schedulers once took it."""

from __future__ import annotations

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import _LRScheduler


class PolynomialLRWarmup(_LRScheduler):
    def __init__(
        self, optimizer: Optimizer, warmup_iters: int, total_iters: int, verbose: bool = False
    ) -> None:
        self.warmup_iters, self.total_iters = warmup_iters, total_iters
        super().__init__(optimizer, last_epoch=-1, verbose=verbose)  # type: ignore[call-arg]

    def get_lr(self) -> list[float | Tensor]:
        step, rest = self.last_epoch, self.total_iters - self.warmup_iters
        share = (
            step / self.warmup_iters if step < self.warmup_iters else 1 - (step - self.warmup_iters) / rest
        )
        return [base * share for base in self.base_lrs]
