"""What learns and how fast: parameter groups and the learning rate of a step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

SCHEDULES: Final = ("quadratic", "arcface_torch")


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then quadratic decay to 0, as in the paper; or what arcface_torch's loop does.

    Its `PolynomialLRWarmup` has power 1, so it decays linearly; and it sets a step's rate behind the step, so that the
    first one is taken at the peak, whatever the warm-up.

    Attributes:
        peak: learning rate at the end of the warm-up.
        warmup_steps: steps until then.
        total_steps: steps of the run.
        form: one of `SCHEDULES`.
    """

    peak: float
    warmup_steps: int
    total_steps: int
    form: str = "quadratic"

    def __call__(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        left = max(0.0, (self.total_steps - step) / max(1, self.total_steps - self.warmup_steps))
        if self.form == "arcface_torch":
            return self.peak * (step / self.warmup_steps if 0 < step < self.warmup_steps else min(1.0, left))
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        return self.peak * left**2


class RowSGD(torch.optim.SGD):
    """SGD with momentum and weight decay, for which a sparse gradient means: these rows, and no others.

    In a step of a sampled classifier only the drawn centres have a gradient. Torch's SGD would still move the others
    by momentum and weight decay; here they rest, momentum included, until they are drawn again (as in arcface_torch).
    A row depends on its own gradient and momentum alone, so the result does not depend on which rank holds it.

    A parameter keeps one dense `momentum_buffer` as in torch's SGD, whose state dict is the same.

    Args:
        parameters: what learns.
        lr: learning rate; see `set_rate`.
        momentum: share of the momentum that a step keeps.
        weight_decay: times the parameter is added to its gradient.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], *, lr: float = 0.0, momentum: float, weight_decay: float
    ) -> None:
        super().__init__(list(parameters), lr=lr, momentum=momentum, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move what has a gradient, of sparse gradients the rows they hold."""
        sparse = [
            (group, parameter, parameter.grad)
            for group in self.param_groups
            for parameter in group["params"]
            if parameter.grad is not None and parameter.grad.is_sparse
        ]
        for _, parameter, _ in sparse:
            parameter.grad = None
        super().step(closure)
        for group, parameter, gradient in sparse:
            parameter.grad = gradient
            self._step_rows(group, parameter, gradient.coalesce())

    def _step_rows(self, group: dict[str, Any], parameter: Tensor, gradient: Tensor) -> None:
        rows, change = gradient.indices()[0], gradient.values()
        change = change.add(parameter[rows], alpha=group["weight_decay"])
        if group["momentum"]:
            state = self.state[parameter]
            if state.get("momentum_buffer") is None:
                state["momentum_buffer"] = torch.zeros_like(parameter)
            buffer: Tensor = state["momentum_buffer"]
            change = change.add_(buffer[rows], alpha=group["momentum"])
            buffer.index_copy_(0, rows, change)
        parameter.index_add_(0, rows, change, alpha=-group["lr"])


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate
