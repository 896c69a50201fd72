"""What learns and how fast: parameter groups and the learning rate of a step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, then quadratic decay to 0 (the paper's; arcface_torch's polynomial schedule).

    Attributes:
        peak: learning rate at the end of the warm-up.
        warmup_steps: steps until then.
        total_steps: steps of the run.
    """

    peak: float
    warmup_steps: int
    total_steps: int

    def __call__(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        if step < self.warmup_steps:
            return self.peak * (step + 1) / self.warmup_steps
        left = (self.total_steps - step) / max(1, self.total_steps - self.warmup_steps)
        return self.peak * max(0.0, left) ** 2


def make_sgd(parameters: Iterable[nn.Parameter], *, momentum: float, weight_decay: float) -> torch.optim.SGD:
    """SGD over what learns; the rate is set before each step, see `set_rate`."""
    return torch.optim.SGD(list(parameters), lr=0.0, momentum=momentum, weight_decay=weight_decay)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all groups."""
    for group in optimizer.param_groups:
        group["lr"] = rate
