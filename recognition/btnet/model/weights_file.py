"""Files of `torch.save`, read as weights and nothing else: no code, no more memory than the file is large."""

from __future__ import annotations

import io
import pickletools
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

__all__ = ["check_archive", "load_weights"]

_NUM_PICKLES = 5  # of torch's older format: magic number, version, system, contents, keys; then raw numbers


def load_weights(path: str | Path) -> Any:
    """Read what `torch.save` wrote, on the CPU.

    torch's own reader takes the damage of a bit for another weight, and makes room for whatever a file announces. So
    the archive is checked first: its members stored as they are, with the checksums torch gave them.

    Args:
        path: an archive, or a file of torch before 1.6.

    Returns:
        Tensors in dicts, lists and the like.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the file, if it is damaged, asks for more than weights, or announces more than it holds.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of weights")
    # Warnings are of what weights never have.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if zipfile.is_zipfile(path):
                with open(path, "rb") as file:
                    check_archive(file)
                content = torch.load(path, map_location="cpu", weights_only=True)
            else:
                legacy = path.read_bytes()
                _check_announced(legacy)
                # From memory: a read of more than there is gets what there is.
                content = torch.load(io.BytesIO(legacy), map_location="cpu", weights_only=True)
        except MemoryError:
            raise
        except Exception as error:  # whatever torch meets in a damaged file: there is no list of it
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ValueError(
                f"{path}: torch cannot read this as a file of weights ({reason[:300]}); a state dict saved by "
                "torch.save is expected"
            ) from error
    for tensor in _tensors(content):
        # A stride of zero makes a few bytes a tensor of any size.
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise ValueError(
                f"{path}: a tensor of shape {list(tensor.shape)} with fewer numbers; save it again, contiguous"
            )
    return content


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
