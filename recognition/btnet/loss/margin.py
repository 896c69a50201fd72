"""What every margin shares: cosines in, scaled logits out, with the row's own class made harder."""

# B rows of the global batch, C classes of this rank

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn

__all__ = ["Margin", "positive_cosine"]


class Margin(nn.Module):
    """Cosines in, scaled logits out: `logits = scale * cosine`, with each row's positive made harder.

    A subclass states how hard with `positive`; one that treats negatives differently overrides
    `negatives`, one with running state `observe`. Which rank holds which class is not known here.

    Attributes:
        scale: s, the inverse temperature of the softmax.
        margin: m, in the unit the subclass names.
    """

    def __init__(self, *, scale: float, margin: float) -> None:
        super().__init__()
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale {scale}: expected a positive number; face recognition uses 30 to 64")
        if not (math.isfinite(margin) and margin >= 0):
            raise ValueError(f"margin {margin}: expected a number >= 0; 0 is the plain softmax")
        self.scale = scale
        self.margin = margin

    def forward(
        self, cosine: Tensor, labels: Tensor, *, target: Tensor | None = None, norms: Tensor | None = None
    ) -> Tensor:
        """Logits for a softmax cross entropy.

        Args:
            cosine: of each embedding with each class centre of this rank, [B, C], in [-1, 1]. Not written to.
            labels: column of each row's class, int64 [B]; -1 where the class lives on another rank.
            target: cosine of each row with its own class, wherever that lives, [B]. Default: read from
                `cosine`, which is only possible for rows whose class is here.
            norms: lengths of the embeddings before normalisation, [B]. Only AdaFace looks at them.

        Returns:
            Scaled logits, [B, C], in float32 (float64 if `cosine` is).

        Raises:
            ValueError: if the shapes do not belong together, or a value this margin needs is missing.
        """
        _check(cosine, labels, target, norms)
        cosine_BC = _full_precision(cosine)
        target_B = positive_cosine(cosine_BC, labels) if target is None else _full_precision(target)
        self.check(labels, target, norms)
        if self.training:
            with torch.no_grad():
                self.observe(target_B, norms)
        positive_B = self.positive(target_B, norms)
        negatives_BC = self.negatives(cosine_BC, target_B)
        return self.scale * _with_positive(negatives_BC, labels, positive_B)

    @abstractmethod
    def positive(self, target: Tensor, norms: Tensor | None) -> Tensor:
        """The row's own class with the margin applied, unscaled, [B] from cosines [B]."""

    def negatives(self, cosine: Tensor, target: Tensor) -> Tensor:
        """The other classes, unscaled, [B, C]; the positives in it are replaced afterwards."""
        return cosine

    def observe(self, target: Tensor, norms: Tensor | None) -> None:
        """Move running state, in train mode only and without gradient."""

    def check(self, labels: Tensor, target: Tensor | None, norms: Tensor | None) -> None:
        """Refuse a call that lacks what this margin needs."""

    def extra_repr(self) -> str:
        """Scale and margin, for `print`."""
        return f"scale={self.scale}, margin={self.margin}"


def positive_cosine(cosine: Tensor, labels: Tensor) -> Tensor:
    """Cosine of each row with its own class where that class is among the columns, else 0.

    Args:
        cosine: [B, C].
        labels: int64 [B], -1 for a class that is not here.

    Returns:
        [B]. Summed over the ranks it is every row's positive cosine: a class lives on one rank only.
    """
    if cosine.shape[1] == 0:
        return cosine.sum(dim=1)  # zeros, but part of the graph: the other ranks' backward counts on this one
    column_B1 = labels.clamp(min=0).unsqueeze(1)
    return torch.where(labels >= 0, cosine.gather(1, column_B1).squeeze(1), 0)


def _with_positive(negatives_BC: Tensor, labels: Tensor, positive_B: Tensor) -> Tensor:
    """Put each row's positive into its column, out of place; rows with label -1 stay as they are."""
    if negatives_BC.shape[1] == 0:
        return negatives_BC + positive_B.unsqueeze(1)  # still empty, and connected: see positive_cosine
    # a row without its class here rewrites column 0 with what stands there: no shape depends on data, so
    # that a GPU is never waited for
    column_B1 = labels.clamp(min=0).unsqueeze(1)
    kept_B1 = negatives_BC.gather(1, column_B1)
    here_B1 = (labels >= 0).unsqueeze(1)
    return negatives_BC.scatter(1, column_B1, torch.where(here_B1, positive_B.unsqueeze(1), kept_B1))


def _full_precision(values: Tensor) -> Tensor:
    """Half precision cannot tell cosines near 1 apart: float32 from here on."""
    return values if values.dtype == torch.float64 else values.float()


def _check(cosine: Tensor, labels: Tensor, target: Tensor | None, norms: Tensor | None) -> None:
    if cosine.ndim != 2:
        raise ValueError(f"cosine of shape {list(cosine.shape)}: expected [B, C], a row per embedding")
    rows = {"labels": labels, "target": target, "norms": norms}
    for name, value in rows.items():
        if value is not None and value.shape != cosine.shape[:1]:
            raise ValueError(
                f"{name} of shape {list(value.shape)}: expected [{cosine.shape[0]}], one per row of cosine "
                f"{list(cosine.shape)}; a column [B, 1] can be flattened with .view(-1)"
            )
