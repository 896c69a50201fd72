"""What a branch sees of a canonical face in training: at its own size, or as the field would bring it there.

The teacher sees the aligned, sharp face all the while, and so a teacher cache stays valid.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from btnet.data.alignment_jitter import AlignmentJitter
from btnet.data.degradation import Degradation
from btnet.data.draws import draw, uniform
from btnet.images.interpolation import check_interpolation
from btnet.images.resize import resize

__all__ = ["BranchView"]


class BranchView:
    """Faces at r px; a share of them at any size in (r / 2, r] first, and enlarged to r from there.

    So the recogniser feeds a branch under max and ceil: a face goes to the smallest branch that is not below it, and is
    resized once, by the same interpolation. Where branches halve from one to the next, their bands leave no size out.
    That a network loses at scales it was not trained at is measured in FixRes (arXiv 1906.06423). All is drawn by image
    (see `btnet.data.draws`): batch, worker and rank do not matter.

    Args:
        resolution: r in px.
        interpolation: one of `INTERPOLATIONS`.
        seed: of the run.
        size_band: share of the faces whose size is drawn from the band, evenly; the rest has r px.
        changes: what happens to the faces before, in this order: `AlignmentJitter`, `Degradation`.

    Raises:
        ValueError: for a share that is not in [0, 1], or an unknown interpolation.
    """

    def __init__(
        self,
        resolution: int,
        *,
        interpolation: str = "bilinear",
        seed: int = 0,
        size_band: float = 0.0,
        changes: Sequence[AlignmentJitter | Degradation] = (),
    ) -> None:
        if not 0 <= size_band <= 1:
            raise ValueError(
                f"size_band={size_band:g}: expected the share of faces of any size in (r / 2, r], from 0 to 1"
            )
        self.resolution, self.size_band, self.seed = resolution, size_band, seed
        self.interpolation = check_interpolation(interpolation)
        self.changes = tuple(changes)

    def sizes(self, keys: Tensor, epoch: int) -> Tensor:
        """The size at which each face is seen before it is brought to r px, int64 [B]."""
        smallest = self.resolution // 2 + 1
        places = {"seed": self.seed, "epoch": epoch}
        drawn = smallest + draw(keys, purpose="band size", **places) % (self.resolution - smallest + 1)
        in_band = uniform(keys, 0, 1, purpose="in band", **places) < self.size_band
        return torch.where(in_band, drawn, self.resolution)

    def __call__(self, images: Tensor, keys: Tensor, epoch: int) -> Tensor:
        """Make the branch's input.

        Args:
            images: uint8 RGB [B, 3, S, S] on any device, mirrored already.
            keys: int64 [B]. Best on the CPU, where sorting by size does not wait for the device.
            epoch: current epoch.

        Returns:
            uint8 [B, 3, r, r].
        """
        for change in self.changes:
            images = change(images, keys, epoch)
        if not self.size_band:
            return resize(images, self.resolution, self.interpolation)
        sizes = self.sizes(keys, epoch)
        views = images.new_empty(*images.shape[:2], self.resolution, self.resolution)
        for size in sorted(set(sizes.tolist())):
            members = (sizes == size).nonzero()[:, 0].to(images.device)
            small = resize(images[members], size, self.interpolation)
            views[members] = resize(small, self.resolution, self.interpolation)
        return views
