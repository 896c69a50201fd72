"""Losses between two log lines: kept on the device, looked at once, and with them whether training diverged."""

from __future__ import annotations

import torch
from torch import Tensor

from btnet.training.distributed import Context


class DivergedError(FloatingPointError):
    """A loss is not a finite number; the message names step, learning rate and the last finite losses."""


class LossWindow:
    """The losses of the steps since the last look.

    They stay on the device, so that a GPU is waited for once per window, not once per step.
    """

    def __init__(self, context: Context):
        self.context = context
        self._steps: list[int] = []
        self._rates: list[float] = []
        self._losses: list[dict[str, Tensor]] = []
        self._last_finite: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, step: int, rate: float, losses: dict[str, Tensor]) -> None:
        """Keep the named scalars of one step. The names are those of the first step."""
        self._steps.append(step)
        self._rates.append(rate)
        self._losses.append(losses)

    def close(self) -> dict[str, float]:
        """Mean of each loss over the window's steps and all ranks; then begin a new window.

        Raises:
            DivergedError: if a loss (a gradient norm may overflow under fp16) is not finite. On all ranks.
        """
        names = list(self._losses[0])
        table = torch.stack([torch.stack([row[name].float() for name in names]) for row in self._losses])
        rows = self.context.mean(table).tolist()
        checked = [i for i, name in enumerate(names) if name.endswith("/total")]
        for step, rate, row in zip(self._steps, self._rates, rows, strict=True):
            if not torch.isfinite(torch.tensor([row[i] for i in checked])).all():
                raise DivergedError(self._diverged(step, rate, dict(zip(names, row, strict=True))))
            self._last_finite = dict(zip(names, row, strict=True))
        self._steps, self._rates, self._losses = [], [], []
        return {name: sum(row[i] for row in rows) / len(rows) for i, name in enumerate(names)}

    def _diverged(self, step: int, rate: float, losses: dict[str, float]) -> str:
        last = _text(self._last_finite) if self._last_finite else "none, it is the first step"
        return (
            f"the loss is not finite at step {step} (learning rate {rate:.4g}): {_text(losses)}; last finite "
            f"losses: {last}. Lower lr, lengthen warmup_epoch, or use precision=bf16 or fp32, and go on with "
            "resume=True"
        )


def _text(losses: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in losses.items())
