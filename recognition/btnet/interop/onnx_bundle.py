"""Write a bundle: one ONNX file per resolution, the trunk's weights in one data file that all of them share."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, BinaryIO, Final

import onnx
from onnx.external_data_helper import set_external_data

from btnet.files.atomic import replacing_together
from btnet.files.digest import entry_of
from btnet.interop.onnx import build_graph, check_session
from btnet.method.btnet import BTNet
from btnet.model_folder.manifest import NAME, leads_bundle, write_manifest
from btnet.serving.onnx_bundle import OnnxBundle
from btnet.serving.onnx_folder import network_file
from btnet.serving.onnx_session import open_session

__all__ = ["TRUNK_DATA", "export_bundle"]

TRUNK_DATA: Final = "trunk.data"
# Smaller tensors (shapes, scalars, tables of the resizing) stay in the ONNX file.
_SMALLEST_SHARED = 1024
# Memory maps start at pages; padding to pages pays for large tensors only.
_PAGE, _LINE = 4096, 64


def export_bundle(
    model: BTNet,
    folder: str | Path,
    *,
    input_size: int | None = None,
    precision: str = "fp32",
) -> OnnxBundle:
    """Write the trunk and every branch as ONNX files that share the trunk's weights.

    `embed_rPX.onnx` hold graphs, `trunk.data` the trunk's weights, `overlay_rPX.data` what a branch has for
    itself, `btnet.json` leads. Disk costs trunk + overlays: BatchNorms are not merged into convolutions (that
    would leave nothing to share; onnxruntime merges them when it loads). A tensor of a branch that equals one
    of the trunk is not stored again.

    Args:
        model: copied, not touched.
        folder: created if absent; a bundle that is there is replaced.
        input_size: as `btnet.interop.export_onnx`, for all files. Default: each network's own.
        precision: likewise.

    Returns:
        The bundle as written.

    Raises:
        ValueError: as `btnet.interop.export_onnx`, or if the folder is that of a run; nothing is left then.
    """
    folder = Path(folder)
    if (folder / NAME).is_file() and not leads_bundle(folder):
        raise ValueError(
            f"{folder}: holds the manifest of a run, which a bundle would replace; take another folder"
        )
    files: dict[str, dict[str, Any]] = {}
    with replacing_together(folder, NAME) as draft:
        trunk = _TensorFile(draft / TRUNK_DATA)
        for size in (model.trunk.canonical_size, *model.resolutions):
            graph = build_graph(
                model,
                resolution=size,
                input_size=input_size,
                precision=precision,
                fold=False,
            )
            name, used = network_file(size), [trunk]
            if size == model.trunk.canonical_size:
                _move_weights(graph.model, trunk, None)
            else:
                overlay = _TensorFile(draft / f"overlay_r{size}.data")
                _move_weights(graph.model, overlay, trunk)
                overlay.close()
                used.append(overlay)
            trunk.flush()
            onnx.save(graph.model, draft / name)
            check_session(open_session(draft / name), graph, folder / name)
            files[str(size)] = {"file": name, "data": [file.path.name for file in used]}
        trunk.close()
        digests = {path.name: entry_of(path) for path in sorted(draft.iterdir())}
        write_manifest(
            draft,
            arch=model.trunk.arch,
            trunk_fingerprint=model.trunk_fingerprint(),
            resolutions=list(model.resolutions),
            interpolation=model.interpolation,
            onnx={"precision": precision, "networks": files, "files": digests},
        )
    return OnnxBundle.load(folder)


class _TensorFile:
    """Tensors one after the other in a file, each content once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO = open(path, "wb")  # noqa: SIM115 (closed by close)
        self._places: dict[bytes, tuple[int, int]] = {}

    def find(self, content: bytes) -> tuple[int, int] | None:
        """Offset and length of this content, if it is there."""
        return self._places.get(hashlib.sha256(content).digest())

    def add(self, content: bytes) -> tuple[int, int]:
        """Store it if it is not there; offset and length."""
        place = self.find(content)
        if place is None:
            alignment = _PAGE if len(content) >= 16 * _PAGE else _LINE
            self._file.write(bytes(-self._file.tell() % alignment))
            place = (self._file.tell(), len(content))
            self._file.write(content)
            self._places[hashlib.sha256(content).digest()] = place
        return place

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _move_weights(model: onnx.ModelProto, own: _TensorFile, shared: _TensorFile | None) -> None:
    for tensor in model.graph.initializer:
        content = onnx.numpy_helper.to_array(tensor).tobytes()
        if len(content) < _SMALLEST_SHARED:
            continue
        file, place = own, None
        if shared is not None and (place := shared.find(content)) is not None:
            file = shared
        offset, length = place or own.add(content)
        tensor.raw_data = content  # the helper moves raw data only
        set_external_data(tensor, file.path.name, offset, length)
        tensor.ClearField("raw_data")
