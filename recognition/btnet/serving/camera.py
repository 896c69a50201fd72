"""A BN set per camera: a branch's BatchNorm statistics as one camera's faces have them, a small file on its overlay.

A camera's light, colour, noise and blur move the means and variances inside the network. They can be measured on
faces of the camera without knowing whose they are (AIRD, arXiv 2409.02049, adapts a low-resolution network at test time
in this way). Weights stay, and so do the trunk and every gallery.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from btnet.backbones.backbone import Backbone
from btnet.backbones.state import check_tensors, fingerprint
from btnet.backbones.tensor_file import read_tensors
from btnet.data.views import normalise
from btnet.files.atomic import replacing
from btnet.files.text import naming
from btnet.method.btnet import BTNet
from btnet.serving.model_folder import EvaluatedModel

__all__ = [
    "ENOUGH_FACES",
    "LEAST_FACES",
    "CameraSet",
    "adapt_branch",
    "apply_cameras",
    "camera_file",
    "measured_statistics",
]

LEAST_FACES: Final = 16
"""Fewer are refused: the variances would be those of a few people."""
ENOUGH_FACES: Final = 256
"""From here on more faces change little; with fewer the result is told to be uncertain."""

_FORMAT_VERSION: Final = 1
_MEAN, _VARIANCE = "running_mean", "running_var"
_FIELDS: Final = {
    "format_version": (int,), "resolution": (int,), "overlay_digest": (str,), "num_faces": (int,),
    "prior": (int, float), "digest": (str,),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class CameraSet:
    """The statistics of one branch for one camera.

    Attributes:
        tensors: running means and variances by state key, float32 on the CPU.
        resolution: of the branch, in px.
        overlay_digest: of the branch it was measured with (fingerprint of its overlay's tensors).
        num_faces: it was measured on.
        prior: faces that the branch's own statistics counted for.
    """

    tensors: dict[str, Tensor]
    resolution: int
    overlay_digest: str
    num_faces: int
    prior: float

    @property
    def num_bytes(self) -> int:
        """Bytes the tensors take in the file."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())

    def apply(self, model: BTNet, where: str = "camera set") -> None:
        """Put the statistics in place of the branch's own.

        Raises:
            ValueError: if the model has no such branch, or another one than it was measured with.
        """
        if self.resolution not in model.resolutions:
            sizes = ", ".join(map(str, model.resolutions))
            raise ValueError(
                f"{where}: for a branch of {self.resolution} px, the model has {sizes or 'none'}"
            )
        found = _digest(model, self.resolution)
        if found != self.overlay_digest:
            raise ValueError(
                f"{where}: measured with branch {self.overlay_digest[:12]} for {self.resolution} px, this one is "
                f"{found[:12]} (another training, or another camera's set is in place); run `btnet adapt-camera` again"
            )
        bn_set = model.bn_set(self.resolution)
        check_tensors(self.tensors, {key: bn_set[key] for key in bn_set if _is_statistic(key)}, where)
        model.load_bn_set(self.resolution, bn_set | self.tensors)

    def save(self, path: str | Path) -> None:
        """Write a safetensors file, whole or not at all."""
        metadata = {
            "format_version": _FORMAT_VERSION,
            "resolution": self.resolution,
            "overlay_digest": self.overlay_digest,
            "num_faces": self.num_faces,
            "prior": self.prior,
            "digest": fingerprint(self.tensors),
        }
        with replacing(Path(path)) as temporary:
            save_file(self.tensors, str(temporary), {"btnet_camera": json.dumps(metadata)})

    @classmethod
    def load(cls, path: str | Path) -> CameraSet:
        """Read a file that `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is damaged, of another kind, or of a newer format.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such camera set; make one with `btnet adapt-camera`")
        metadata, tensors = read_tensors(path, "btnet_camera")
        known = all(type(metadata.get(name)) in kinds for name, kinds in _FIELDS.items())
        if not known or metadata["format_version"] != _FORMAT_VERSION:
            raise ValueError(
                f"{path}: no camera set of format {_FORMAT_VERSION}; make one with `btnet adapt-camera`"
            )
        if fingerprint(tensors) != metadata["digest"]:
            raise ValueError(
                f"{path}: the tensors do not match their checksum, the file is damaged; copy it again"
            )
        with naming(path, OverflowError):
            return cls(
                tensors=tensors,
                resolution=metadata["resolution"],
                overlay_digest=metadata["overlay_digest"],
                num_faces=metadata["num_faces"],
                prior=float(metadata["prior"]),
            )


def camera_file(folder: str | Path, resolution: int) -> Path:
    """Where a camera's folder has the set of one branch."""
    return Path(folder) / f"camera_r{resolution}.safetensors"


def apply_cameras(model: EvaluatedModel, folder: str | Path) -> tuple[int, ...]:
    """Put a camera's statistics in place in all branches that its folder has a set for.

    Returns:
        The resolutions of these branches.

    Raises:
        FileNotFoundError: if the folder has no set for any branch of the model.
        ValueError: if the model has no branches, or as `CameraSet.load` and `apply`.
    """
    if not isinstance(model.model, BTNet):
        raise ValueError(f"{model.name} has no branches; a camera's statistics belong to those of a trunk")
    found = [r for r in model.model.resolutions if camera_file(folder, r).is_file()]
    if not found:
        files = ", ".join(camera_file(folder, r).name for r in model.model.resolutions)
        raise FileNotFoundError(f"{folder}: holds none of {files}; make them with `btnet adapt-camera`")
    for resolution in found:
        path = camera_file(folder, resolution)
        CameraSet.load(path).apply(model.model, str(path))
    return tuple(found)


def adapt_branch(
    model: BTNet, resolution: int, faces: NDArray[np.uint8], *, prior: float = 0.0, batch_size: int = 128
) -> CameraSet:
    """Re-estimate the statistics of a branch from a camera's faces; the model stays as it is.

    Args:
        model: with this branch, in its own statistics.
        resolution: r, of the branch.
        faces: of anybody, as the branch sees them, uint8 RGB [N, r, r, 3].
        prior: the branch's own statistics count as those of so many faces (Schneider et al., NeurIPS 2020).
        batch_size: faces that are normalised together while measuring.

    Raises:
        ValueError: for fewer than `LEAST_FACES` faces, a negative prior, or a size without branch.
    """
    if len(faces) < LEAST_FACES or prior < 0:
        raise ValueError(
            f"{len(faces)} faces for {resolution} px and prior {prior:g}: expected at least {LEAST_FACES} faces "
            f"({ENOUGH_FACES} to be sure) and a prior of 0 or more; collect more of this camera"
        )
    if resolution not in model.resolutions:
        raise ValueError(
            f"no branch for {resolution} px to adapt, only for {list(model.resolutions)}; the trunk must not move"
        )
    measured = measured_statistics(model.detached(resolution), faces, batch_size=batch_size)
    own, share = model.bn_set(resolution), len(faces) / (len(faces) + prior)
    return CameraSet(
        tensors={key: (share * new + (1 - share) * own[key].cpu()).float() for key, new in measured.items()},
        resolution=resolution,
        overlay_digest=_digest(model, resolution),
        num_faces=len(faces),
        prior=prior,
    )


def measured_statistics(
    network: Backbone, faces: NDArray[np.uint8], *, batch_size: int = 128
) -> dict[str, Tensor]:
    """Mean and variance (unbiased) before every BatchNorm, of all faces together.

    What reaches a layer is normalised by its own batch meanwhile, as in training: so the layers before have the new
    statistics already. Batches are of nearly equal size.

    Args:
        network: is not changed.
        faces: uint8 RGB [N, r, r, 3].
        batch_size: at most.

    Returns:
        By state key, "*.running_mean" and "*.running_var", float32 on the CPU.
    """
    norms = {name: module for name, module in network.named_modules() if isinstance(module, _BatchNorm)}
    sums = {name: torch.zeros(2, norm.num_features, dtype=torch.float64) for name, norm in norms.items()}
    counts = dict.fromkeys(norms, 0)

    def watch(name: str, x: Tensor) -> None:
        values = x.detach().to("cpu", torch.float64).transpose(0, 1).flatten(1)
        sums[name] += torch.stack([values.sum(dim=1), values.square().sum(dim=1)])
        counts[name] += values.shape[1]

    hooks = [
        norm.register_forward_pre_hook(lambda _, inputs, name=name: watch(name, inputs[0]))
        for name, norm in norms.items()
    ]
    parameter = next(network.parameters())
    try:
        with torch.inference_mode(), _normalising_by_batch(network, norms):
            for batch in np.array_split(faces, -(-len(faces) // batch_size)):
                views = torch.from_numpy(np.require(batch, requirements=["C", "W"])).permute(0, 3, 1, 2)
                network(normalise(views.to(parameter.device), parameter.dtype))
    finally:
        for hook in hooks:
            hook.remove()
    found: dict[str, Tensor] = {}
    for name, (total, squares) in sums.items():
        mean = total / counts[name]
        variance = (squares - counts[name] * mean.square()) / (counts[name] - 1)
        found |= {f"{name}.{_MEAN}": mean.float(), f"{name}.{_VARIANCE}": variance.clamp(min=0).float()}
    return found


@contextmanager
def _normalising_by_batch(network: nn.Module, norms: Mapping[str, _BatchNorm]) -> Iterator[None]:
    """BatchNorms in train mode without moving their statistics; all else in eval mode, dropout included."""
    modes = {module: module.training for module in network.modules()}
    kept = {name: (norm.momentum, norm.num_batches_tracked) for name, norm in norms.items()}
    network.eval()
    for norm in norms.values():
        norm.train()
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for name, norm in norms.items():
            norm.momentum, norm.num_batches_tracked = kept[name]
        for module, mode in modes.items():
            module.training = mode


def _is_statistic(key: str) -> bool:
    return key.rpartition(".")[2] in (_MEAN, _VARIANCE)


def _digest(model: BTNet, resolution: int) -> str:
    return fingerprint(model.overlay(resolution).tensors)
