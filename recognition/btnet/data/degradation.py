"""Faces degraded as surveillance cameras do it: light, lens, few pixels, noise, JPEG.

The classical model of blind super-resolution, blur, shrink, noise, JPEG (BSRGAN, arXiv 2103.14006; Real-ESRGAN, arXiv
2107.10833; for faces GFPGAN, arXiv 2101.04061), after a tone curve; then back to the original size, as in GFPGAN.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor

from btnet.draws import bell, by_value, draw, uniform
from btnet.images.interpolation import check_interpolation
from btnet.images.jpeg import jpeg
from btnet.images.resize import resize

__all__ = ["Degradation"]

# Each is drawn evenly between its ends, gamma by its logarithm.
GAMMA: Final = (0.7, 1.4)
BLUR: Final = (
    0.0,
    1.0,
)  # of the lens, standard deviation in px of the branch: half of its resolution is left
NOISE: Final = (0.0, 10.0)  # of the sensor, standard deviation in grey levels
QUALITY: Final = (40, 95)  # of the JPEG
OVERSAMPLING: Final = (1, 2, 4)  # px of the sensor per px of the branch

_BLUR_BITS: Final = 15
_PIXELS: Final = 1 << 20  # room for a face's values among its draws


class Degradation:
    """Degrades a share of the faces, each by its own draws.

    Args:
        share: of the faces that are degraded; the others stay as they are.
        resolution: of the branch, in px: the scale of blur and sensor.
        interpolation: one of `INTERPOLATIONS`, of the sensor and back.
        seed: of the run.

    Raises:
        ValueError: for a share that is not in [0, 1], or an unknown interpolation.
    """

    def __init__(
        self, share: float, *, resolution: int, interpolation: str = "bilinear", seed: int = 0
    ) -> None:
        if not 0 <= share <= 1:
            raise ValueError(
                f"degradation={share:g}: expected the share of faces that are degraded, from 0 to 1"
            )
        self.share, self.resolution, self.seed = share, resolution, seed
        self.interpolation = check_interpolation(interpolation)

    def chosen(self, keys: Tensor, epoch: int) -> Tensor:
        """Which faces are degraded, bool [B]."""
        return self._uniform(keys, epoch, "degraded", (0.0, 1.0)) < self.share

    def __call__(self, images: Tensor, keys: Tensor, epoch: int) -> Tensor:
        """Degrade the chosen faces, uint8 [B, 3, S, S] in new memory."""
        keys = keys.cpu()
        found = images.clone()
        sensors = torch.tensor(OVERSAMPLING).mul(self.resolution).clamp(max=images.shape[-1])
        drawn = sensors[draw(keys, seed=self.seed, epoch=epoch, purpose="sensor") % len(sensors)]
        drawn[~self.chosen(keys, epoch)] = 0
        for sensor, members in by_value(drawn):
            if sensor:
                where = members.to(images.device)
                found[where] = self._photographed(images[where], keys[members], epoch, sensor)
        return found

    def _photographed(self, images: Tensor, keys: Tensor, epoch: int, sensor: int) -> Tensor:
        size, device = images.shape[-1], images.device
        gamma = self._uniform(keys, epoch, "gamma", (math.log(GAMMA[0]), math.log(GAMMA[1]))).exp()
        sigma = self._uniform(keys, epoch, "blur", BLUR) * (size / self.resolution)
        taken = resize(_blurred(_toned(images, gamma), sigma), sensor, self.interpolation)
        pixels = torch.arange(taken[0].numel(), device=device)
        grain = bell(
            keys.to(device)[:, None] * _PIXELS + pixels, seed=self.seed, epoch=epoch, purpose="grain"
        )
        noise = self._uniform(keys, epoch, "noise", NOISE).to(device)[:, None] * grain
        noisy = (taken + noise.reshape(taken.shape) + 0.5).floor().clamp(0, 255).to(torch.uint8)
        low, high = QUALITY
        quality = low + draw(keys, seed=self.seed, epoch=epoch, purpose="quality") % (high - low + 1)
        phase = draw(keys[:, None] * 2 + torch.arange(2), seed=self.seed, epoch=epoch, purpose="phase") % 16
        return resize(jpeg(noisy, quality, phase), size, self.interpolation)

    def _uniform(self, keys: Tensor, epoch: int, purpose: str, ends: tuple[float, float]) -> Tensor:
        return uniform(keys, *ends, seed=self.seed, epoch=epoch, purpose=purpose)


def _toned(images: Tensor, gamma: Tensor) -> Tensor:
    """Grey levels between 0 and 1 to the power of gamma, one gamma per image."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    curves = (255 * levels ** gamma[:, None] + 0.5).floor().to(torch.uint8).to(images.device)
    return curves.gather(1, images.flatten(1).long()).reshape(images.shape)


def _blurred(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur, one standard deviation in px per image; beyond the edge lies the edge pixel again.

    As products with one matrix per image, exact in float64: weights are multiples of 2 ** -15.
    """
    size = images.shape[-1]
    matrices = torch.stack([_blur_matrix(size, s) for s in sigma.tolist()])[:, None].to(images.device)
    blurred = matrices @ images.double() @ matrices.transpose(-1, -2)
    return (blurred + 0.5).floor().clamp(0, 255).to(torch.uint8)


def _blur_matrix(size: int, sigma: float) -> Tensor:
    radius = min(math.ceil(3 * sigma), size)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (offsets / max(sigma, 1e-6)).double().square())
    weights = (weights / weights.sum() * (1 << _BLUR_BITS)).round()
    weights[radius] += (1 << _BLUR_BITS) - weights.sum()  # a flat image stays flat
    columns = (torch.arange(size)[:, None] + offsets).clamp(0, size - 1)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    return matrix.scatter_add_(1, columns, weights.expand(size, -1) / (1 << _BLUR_BITS))
