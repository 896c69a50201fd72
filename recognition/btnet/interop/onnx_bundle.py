"""A bundle: one ONNX file per resolution, all sharing one data file with the trunk's weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO, Final

from btnet.files.atomic import replacing_together
from btnet.files.digest import entry_of
from btnet.interop.onnx import build_graph, save_checked
from btnet.method.btnet import BTNet
from btnet.model_folder.manifest import NAME, leads_bundle, write_manifest
from btnet.optional import extra
from btnet.serving.onnx_folder import bundle_networks, network_file

with extra("onnx"):
    import onnx
    from onnx.external_data_helper import set_external_data

__all__ = ["TRUNK_DATA", "export_bundle"]

TRUNK_DATA: Final = "trunk.data"
_SMALLEST_SHARED: Final = 1024  # bytes; smaller tensors (shapes, scalars) stay in the ONNX file
# Memory maps start at pages; padding to pages pays for large tensors only.
_PAGE, _LINE = 4096, 64


def export_bundle(
    model: BTNet, folder: str | Path, *, input_size: int | None = None, precision: str = "fp32"
) -> dict[int, Path]:
    """Write the trunk and every branch as ONNX files that share the trunk's weights.

    `embed_rPX.onnx` hold graphs, `trunk.data` the trunk's weights, `overlay_rPX.data` what a branch has of its own,
    and `btnet.json` leads. BatchNorms are not merged into convolutions, which would leave nothing to share;
    onnxruntime merges them when it loads.

    Args:
        model: copied, not touched.
        folder: created if absent; an existing bundle is replaced.
        input_size: as `btnet.interop.export_onnx`, for all files. Default: each network's own.
        precision: as `btnet.interop.export_onnx`.

    Returns:
        The file of each resolution in px.

    Raises:
        ValueError: as `btnet.interop.export_onnx`, or if the folder is a run's; nothing is written then.
    """
    folder = Path(folder)
    if (folder / NAME).is_file() and not leads_bundle(folder):
        raise ValueError(
            f"{folder}: holds the manifest of a run, which a bundle would replace; take another folder"
        )
    sizes = (model.trunk.canonical_size, *model.resolutions)
    with replacing_together(folder, NAME) as draft:
        with open(draft / TRUNK_DATA, "wb") as file:
            trunk = _TensorFile(file)
            for size in sizes:
                graph = build_graph(
                    model, resolution=size, input_size=input_size, precision=precision, fold=False
                )
                if size == model.trunk.canonical_size:
                    _move_weights(graph.model, trunk, trunk)
                else:
                    with open(draft / f"overlay_r{size}.data", "wb") as own:
                        _move_weights(graph.model, _TensorFile(own), trunk)
                file.flush()
                save_checked(graph, draft / network_file(size), folder / network_file(size))
        write_manifest(
            draft,
            arch=model.trunk.arch,
            trunk_fingerprint=model.trunk_fingerprint(),
            resolutions=list(model.resolutions),
            interpolation=model.interpolation,
            onnx={
                "precision": precision,
                "networks": {str(size): {"file": network_file(size)} for size in sizes},
                "files": {path.name: entry_of(path) for path in sorted(draft.iterdir())},
            },
        )
    return bundle_networks(folder)


class _TensorFile:
    """Tensors one after the other in a file, each content once."""

    def __init__(self, file: BinaryIO) -> None:
        self.name = Path(file.name).name
        self._file = file
        self._places: dict[bytes, tuple[int, int]] = {}

    def find(self, content: bytes) -> tuple[int, int] | None:
        """Offset and length of this content, if it is there."""
        return self._places.get(hashlib.sha256(content).digest())

    def add(self, content: bytes) -> tuple[int, int]:
        """Store it if it is not there; offset and length."""
        if (place := self.find(content)) is None:
            alignment = _PAGE if len(content) >= 16 * _PAGE else _LINE
            self._file.write(bytes(-self._file.tell() % alignment))
            place = self._places[hashlib.sha256(content).digest()] = (self._file.tell(), len(content))
            self._file.write(content)
        return place


def _move_weights(model: onnx.ModelProto, own: _TensorFile, shared: _TensorFile) -> None:
    for tensor in model.graph.initializer:
        content = onnx.numpy_helper.to_array(tensor).tobytes()
        if len(content) >= _SMALLEST_SHARED:
            place = shared.find(content)
            file = shared if place else own
            tensor.raw_data = content  # the helper moves raw data only
            set_external_data(tensor, file.name, *(place or own.add(content)))
            tensor.ClearField("raw_data")
