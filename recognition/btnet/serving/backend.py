"""What runs the networks of a model: torch, or onnxruntime on exported files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from btnet.backbones.backbone import Backbone
from btnet.backbones.state import fingerprint
from btnet.files.text import naming
from btnet.method.btnet import BTNet
from btnet.serving.camera import apply_cameras
from btnet.serving.embedding import embed_images
from btnet.serving.model_folder import EvaluatedModel, load_model

__all__ = ["BACKENDS", "Backend", "OnnxBackend", "TorchBackend", "load_backend", "torch_device"]

BACKENDS: Final = ("torch", "onnxruntime")


class Backend(Protocol):
    """The networks of one model. `run` may be called from several threads at once.

    Attributes:
        canonical_size: the trunk's input size in px.
        resolutions: sizes in px that networks exist for, the canonical one first.
        embedding_size: D.
        interpolation: how the low-resolution faces of training were made.
        trunk_fingerprint: says which gallery the embeddings belong to.
    """

    canonical_size: int
    resolutions: tuple[int, ...]
    embedding_size: int
    interpolation: str
    trunk_fingerprint: str

    def run(self, resolution: int, images: NDArray[np.uint8], *, mirror: bool) -> NDArray[np.float32]:
        """Embed one batch: uint8 RGB [B, r, r, 3] -> float32 [B, D], not normalised."""


class TorchBackend:
    """The networks in torch, on one device; trunk and branches share their memory."""

    def __init__(self, model: EvaluatedModel, *, device: str | torch.device = "cpu") -> None:
        """Take a model that is in memory, and move it to the device.

        Raises:
            ValueError: for a network that takes one low resolution only: it has no trunk to fall back to.
        """
        networks = model.model
        trunk = networks.trunk if isinstance(networks, BTNet) else networks
        if trunk.input_size != trunk.canonical_size:
            raise ValueError(
                f"{model.name} takes {trunk.input_size} px faces only; a recogniser needs a trunk for all "
                "others: give a folder with trunk and branches, or a trunk"
            )
        # Fingerprinted before it moves: the bytes are the same, the copy back is saved.
        self.trunk_fingerprint = fingerprint(trunk.state_dict())
        networks.to(device).eval()
        self.canonical_size = trunk.canonical_size
        self.embedding_size = trunk.embedding_size
        self.interpolation = model.views
        self._networks: dict[int, Backbone] = {trunk.canonical_size: trunk}
        if isinstance(networks, BTNet):
            self._networks |= {r: networks.network(r) for r in networks.resolutions}
        self.resolutions = tuple(sorted(self._networks, reverse=True))

    def run(self, resolution: int, images: NDArray[np.uint8], *, mirror: bool) -> NDArray[np.float32]:
        """Embed one batch: uint8 RGB [B, r, r, 3] -> float32 [B, D], not normalised."""
        return embed_images(self._networks[resolution], images, batch_size=max(len(images), 1), mirror=mirror)


class OnnxBackend:
    """The networks as files of `btnet export-onnx`, one session each; torch's networks are not loaded."""

    def __init__(self, folder: Path, *, device: str = "cpu") -> None:
        """Open `embed_rX.onnx` (else `embed_rX_fp16.onnx`) of a run's onnx/ folder, or of the folder itself.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if a file is damaged, not of `btnet export-onnx`, of another trunk than the rest, or not the
                network that the run has now (see `btnet.serving.onnx_folder`).
        """
        from btnet.serving.onnx_folder import check_belonging, find_networks, model_folder_of
        from btnet.serving.onnx_session import check_operators, open_session

        if device != "cpu":
            raise ValueError(
                f"device {device!r}: the onnxruntime backend runs on the CPU; take backend torch"
            )
        given = folder
        folder, networks = find_networks(given)
        self.folder = folder
        self._sessions = {}
        facts: dict[int, dict[str, str]] = {}
        for resolution, path in networks.items():
            check_operators(path)
            self._sessions[resolution] = session = open_session(path)
            facts[resolution] = _facts(path, session, resolution)
        if (run := model_folder_of(given, folder)) is not None:
            served = check_belonging(run, networks, facts)
            self._sessions = {resolution: self._sessions[resolution] for resolution in served}
            facts = {resolution: facts[resolution] for resolution in served}
        self.resolutions = tuple(sorted(self._sessions, reverse=True))
        self.canonical_size = self.resolutions[0]
        first = facts[self.canonical_size]
        if first["network_fingerprint"] != first["trunk_fingerprint"]:
            raise ValueError(
                f"{folder}: no network for the trunk's {_canonical_size(first)} px, only for "
                f"{', '.join(map(str, self.resolutions))} px; larger faces need it: export it too"
            )
        for resolution, found in facts.items():
            for key in ("trunk_fingerprint", "interpolation"):
                if found.get(key) != first.get(key):
                    raise ValueError(
                        f"{folder}: embed_r{resolution}.onnx has {key} {found.get(key, 'none')[:12]}, "
                        f"embed_r{self.canonical_size}.onnx {first.get(key, 'none')[:12]}; "
                        "export all networks of one model again"
                    )
        self.trunk_fingerprint = first["trunk_fingerprint"]
        self.interpolation = first.get("interpolation", "bilinear")
        self.embedding_size = _embedding_size(folder, self._sessions[self.canonical_size])

    def run(self, resolution: int, images: NDArray[np.uint8], *, mirror: bool) -> NDArray[np.float32]:
        """Embed one batch: uint8 RGB [B, r, r, 3] -> float32 [B, D], not normalised."""
        data = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)
        data /= np.float32(127.5)
        data -= np.float32(1)
        embeddings = self._embed(resolution, data)
        if mirror:
            embeddings = embeddings + self._embed(resolution, np.ascontiguousarray(data[..., ::-1]))
        return embeddings

    def _embed(self, resolution: int, data: NDArray[np.float32]) -> NDArray[np.float32]:
        try:
            [embeddings] = self._sessions[resolution].run(None, {"data": data})
        except Exception as error:  # onnxruntime's errors have no other base
            reason = " ".join(str(error).split())[:200]
            raise ValueError(
                f"{self.folder}: embed_r{resolution}.onnx does not run ({reason}); export it again"
            ) from error
        if embeddings.shape != (len(data), self.embedding_size):
            raise ValueError(
                f"{self.folder}: embed_r{resolution}.onnx gives {list(embeddings.shape)} for {len(data)} faces, "
                f"expected [{len(data)}, {self.embedding_size}]; export it again"
            )
        return np.asarray(embeddings, np.float32)


def load_backend(
    path: str | Path, backend: str = "torch", *, device: str | None = None, camera: str | Path | None = None
) -> Backend:
    """Load a model for one of `BACKENDS`.

    Args:
        path: a run folder, a folder of ONNX files (onnxruntime), or a trunk's .pt file (torch).
        backend: "torch" or "onnxruntime".
        device: "cpu" or "cuda". Default: cuda where the backend can use one.
        camera: folder of `btnet adapt-camera`, for torch.

    Raises:
        FileNotFoundError: if a file is missing.
        ValueError: for an unknown backend or device, a damaged model, or a camera's set that does not fit it.
    """
    if backend == "torch":
        model = load_model(path)
        if camera is not None:
            apply_cameras(model, camera)
        return TorchBackend(model, device=torch_device(device))
    if backend == "onnxruntime":
        if camera is not None:
            raise ValueError(
                f"{camera}: exported networks have their statistics folded in; take backend torch"
            )
        return OnnxBackend(Path(path), device=device or "cpu")
    raise ValueError(f"backend {backend!r} is unknown; choose one of {', '.join(BACKENDS)}")


def torch_device(name: str | None) -> torch.device:
    """The device of this name; None: cuda where there is one.

    Raises:
        ValueError: for a name that torch does not know, or cuda where there is none.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"device {name!r} is unknown to torch; give cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {name!r}: torch finds no CUDA device here; give cpu")
    return device


def _canonical_size(props: dict[str, str]) -> str:
    try:
        return str(json.loads(props["arch"])["canonical_size"])[:10]
    except (ValueError, LookupError, TypeError):  # only for a message
        return "canonical"


def _facts(path: Path, session: Any, resolution: int) -> dict[str, str]:
    # Texts of the file are decoded when they are asked for.
    with naming(path):
        props: dict[str, str] = session.get_modelmeta().custom_metadata_map
        faces = [(face.name, face.shape) for face in session.get_inputs()]
    needed = {"trunk_fingerprint", "network_fingerprint"}
    if (
        len(faces) != 1
        or faces[0][0] != "data"
        or faces[0][1][1:] != [3, resolution, resolution]
        or needed - set(props)
    ):
        raise ValueError(
            f"{path}: takes {str(faces)[:200]} of a trunk {props.get('trunk_fingerprint', 'not named')[:12]}, "
            f"expected data [N, 3, {resolution}, {resolution}] of a trunk named in the metadata; "
            "write it with `btnet export-onnx` from the folder with trunk and branches"
        )
    return props


def _embedding_size(folder: Path, session: Any) -> int:
    shapes = [output.shape for output in session.get_outputs()]
    if len(shapes) != 1 or len(shapes[0]) != 2 or not isinstance(shapes[0][1], int):
        raise ValueError(
            f"{folder}: gives {str(shapes)[:200]}, expected embeddings [N, D]; export the files again"
        )
    return shapes[0][1]
