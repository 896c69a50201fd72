"""Averages of the weights over a run's last steps, which are published in place of the last weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

__all__ = ["Averaging", "WeightAverage"]


@dataclass(frozen=True)
class Averaging:
    """Which steps are averaged, and how they weigh.

    Both kinds are one rule: the n-th of the averaged steps weighs max(1 - decay, 1 / n) when it is taken in. So an
    exponential average (Polyak; mean teachers, arXiv 1703.01780, whose ramp this is) does not remember where it began,
    and a stochastic weight average (SWA, arXiv 1803.05407; here of every step) is the one with decay 1.

    Attributes:
        decay: share of the average that a step keeps.
        share: of the run's steps, the last ones, that are averaged.
    """

    decay: float
    share: float

    @classmethod
    def parse(cls, text: str) -> Averaging | None:
        """Read "ema:DECAY", "swa:SHARE" or "" (None).

        Raises:
            ValueError: for anything else.
        """
        if not text:
            return None
        kind, _, number = text.partition(":")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if kind == "ema" and 0 <= value < 1:
            return cls(decay=value, share=1.0)
        if kind == "swa" and 0 <= value <= 1:
            return cls(decay=1.0, share=value)
        raise ValueError(
            f"averaging={text!r}: expected ema:DECAY with a decay in [0, 1), such as ema:0.98; or swa:SHARE with the "
            "share of the last steps, such as swa:0.25; swa:0 averages nothing and measures the BatchNorm statistics"
        )

    def first_step(self, total_steps: int) -> int:
        """The first step whose weights are taken in, counted from 0; `total_steps` where none is."""
        return total_steps - round(self.share * total_steps)


class WeightAverage:
    """The averages of one learner's parameters. How many steps are in them follows from the step's number.

    Attributes:
        averaging: the rule.
        tensors: the averages by the parameters' names; a checkpoint keeps them.
    """

    def __init__(
        self, averaging: Averaging, parameters: Mapping[str, nn.Parameter], *, total_steps: int
    ) -> None:
        self.averaging, self._parameters = averaging, dict(parameters)
        self._first = averaging.first_step(total_steps)
        self._total = total_steps
        self.tensors: dict[str, Tensor] = {key: p.detach().clone() for key, p in parameters.items()}

    def update(self, step: int) -> None:
        """Take in the weights as a step, counted from 0, has left them."""
        num_before = step - self._first
        if num_before >= 0:
            decay = min(self.averaging.decay, num_before / (num_before + 1))
            average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            average(list(self.tensors.values()), [p.detach() for p in self._parameters.values()], num_before)

    @torch.no_grad()
    def put_in_place(self) -> None:
        """Give the parameters the values of the averages, if any step was taken in."""
        if self._first < self._total:
            for key, parameter in self._parameters.items():
                parameter.copy_(self.tensors[key])
