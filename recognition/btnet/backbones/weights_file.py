"""Files of weights, of `torch.save` or safetensors: no code is run, no more memory taken than the file is large."""

from __future__ import annotations

import io
import json
import pickletools
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from btnet.backbones.inert_archive import StandIn, read_inert

OVERLAY = "btnet"
"""The section of a branch's overlay."""
RECORD = "btnet_trunk"
"""What is known of a trunk beside its weights: the name of this section in a file's metadata."""

_NUM_PICKLES = 5  # of torch's older format: magic number, version, system, contents, keys; then raw numbers


def load_weights(path: str | Path) -> Any:
    """Read what `torch.save` or safetensors wrote, on the CPU; a file is known by its content, not by its ending.

    Torch's own reader loads flipped bits as weights and allocates any size that a file announces, so the archive is
    checked first: members uncompressed, checksums right. Archives that torch refuses for objects beside the weights
    (PyTorch Lightning's) are read by `btnet.backbones.inert_archive`.

    Args:
        path: an archive, a file of torch before 1.6, or a safetensors file.

    Returns:
        Tensors in dicts, lists and the like.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the file, if it is damaged, asks for more than weights, or announces more than it holds.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of weights")
    if is_safetensors(path):
        record, tensors = read_tensors(path, RECORD)
        return with_record(tensors, record)
    # Warnings are of what weights never have.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            content = _read_archive(path) if zipfile.is_zipfile(path) else _read_legacy(path)
        except MemoryError:
            raise
        except Exception as error:  # whatever torch meets in a damaged file: there is no list of it
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(
                f"{path}: torch cannot read this as a file of weights ({reason[:300]}); a state dict saved by "
                "torch.save is expected"
            ) from error
    if isinstance(content, StandIn):
        kind = type(content)
        raise ValueError(
            f"{path}: a pickled {kind.__module__}.{kind.__qualname__}, not weights; save its state_dict() instead"
        )
    for tensor in _tensors(content):
        # A stride of zero makes a few bytes a tensor of any size.
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(
                f"{path}: a tensor of shape {list(tensor.shape)} with fewer numbers; save it again, contiguous"
            )
    return content


def is_safetensors(path: Path) -> bool:
    """Whether a file begins as safetensors do: the length of a JSON object, and the object."""
    with open(path, "rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") < path.stat().st_size


def read_tensors(path: Path, section: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read tensors and the JSON object of one section of the metadata.

    Args:
        path: a file that is there.
        section: key in the file's metadata.

    Returns:
        The object, empty where the file has none; and the tensors on the CPU.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get(section, "{}"))
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
    except (SafetensorError, ValueError, RecursionError) as error:
        raise ValueError(
            f"{path}: not a whole safetensors file ({str(error)[:200]}); copy or export it again"
        ) from error
    return metadata if isinstance(metadata, dict) else {}, tensors


def with_record(state: Mapping[str, Tensor], record: Mapping[str, str]) -> Mapping[str, Tensor]:
    """A state dict with a record beside its keys, where torch keeps the versions of modules."""
    carrier: Any = OrderedDict(state)
    carrier._metadata = {RECORD: dict(record)}
    return carrier  # type: ignore[no-any-return]


def record_of(content: Any) -> dict[str, str]:
    """The record of what `load_weights` read; empty if there is none."""
    metadata = getattr(content, "_metadata", None)
    record = metadata.get(RECORD) if isinstance(metadata, Mapping) else None
    items = record.items() if isinstance(record, Mapping) else ()
    return {key: value for key, value in items if isinstance(key, str) and isinstance(value, str)}


def _read_archive(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        if any("/code/" in name for name in archive.namelist()):
            raise ValueError("a TorchScript module: save the state_dict() of what it was made from")
    with open(path, "rb") as file:
        check_archive(file)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception:  # as above
        return read_inert(path)


def _read_legacy(path: Path) -> Any:
    legacy = path.read_bytes()
    _check_announced(legacy)
    # From memory: a read of more than there is gets what there is.
    return torch.load(io.BytesIO(legacy), map_location="cpu", weights_only=True)


def check_archive(stream: BinaryIO) -> None:
    """Check that an archive of `torch.save` holds what it announces, with the checksums it was given.

    Raises:
        ValueError, zipfile.BadZipFile: if not.
    """
    size = stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream) as archive:
        members = archive.infolist()
        for member in members:
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{member.filename[:80]} is compressed, torch stores weights as they are")
        if sum(max(member.file_size, member.compress_size) for member in members) > size:
            raise ValueError("its members announce more bytes than the file has")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"{damaged[:80]} does not match its checksum, it is damaged: copy it again")


def _check_announced(content: bytes) -> None:
    """In the older format storages are made before they are read: none can have more numbers than the file bytes."""
    stream = io.BytesIO(content)
    for _ in range(_NUM_PICKLES - 1):
        first = stream.tell() == 0  # the magic number is larger than any file
        for _, argument, _ in pickletools.genops(stream):
            if isinstance(argument, int) and argument > len(content) and not first:
                raise ValueError(f"announces {argument}, the file has {len(content)} bytes")


def _tensors(content: Any) -> Iterator[Tensor]:
    """Of dicts in dicts, three deep: state dicts and checkpoints of them."""
    layer: list[Any] = [content]
    for _ in range(3):
        layer = [value for item in layer if isinstance(item, Mapping) for value in item.values()]
        yield from (value for value in layer if isinstance(value, Tensor) and value.layout == torch.strided)
