"""How a record lies in a `.rec`: cut into parts, each with a magic number, flag and length.

    part    magic, cflag << 29 | length, payload, padding to 4 bytes

A record that holds the magic at an aligned place is cut there and the magic left out, so that a reader which
lost its place can find the next record. Parts may be empty.
"""

import mmap
import struct

__all__ = ["HEADER", "MAGIC", "MAX_RECORD_BYTES", "find_parts", "frame_record"]

MAGIC = struct.pack("<I", 0xCED7230A)
HEADER = struct.Struct("<IfQQ")
"""Flag, scalar label, id, id2 of an image record; `flag` float32 labels follow."""

MAX_RECORD_BYTES = (1 << 29) - 1

_PART = struct.Struct("<4sI")
_LENGTH_BITS = 29
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_FOLLOWING: dict[int | None, tuple[int, int]] = {
    None: (_WHOLE, _FIRST),
    _FIRST: (_MIDDLE, _LAST),
    _MIDDLE: (_MIDDLE, _LAST),
}


def frame_record(record: bytes) -> bytes:
    """A record as it stands in the file: part headers, payload, padding."""
    pieces: list[bytes] = []
    aligned_end = len(record) & ~3
    begin = 0
    position = record.find(MAGIC)
    while 0 <= position < aligned_end:
        if position % 4:
            position = record.find(MAGIC, position + 1)
            continue
        cflag = _MIDDLE if begin else _FIRST
        pieces += [_PART.pack(MAGIC, cflag << _LENGTH_BITS | position - begin), record[begin:position]]
        begin = position + 4
        position = record.find(MAGIC, begin)
    rest = len(record) - begin
    pieces += [_PART.pack(MAGIC, (_LAST if begin else _WHOLE) << _LENGTH_BITS | rest), record[begin:]]
    pieces.append(bytes(-rest % 4))
    return b"".join(pieces)


def find_parts(source: mmap.mmap, offset: int, size: int, where: str) -> tuple[list[tuple[int, int]], int]:
    """Locate one record.

    Args:
        source: the mapped file.
        offset: where the record's first part starts.
        size: of the file in bytes.
        where: file and key, for error texts.

    Returns:
        Byte ranges of the payloads of its parts, to be joined with `MAGIC`, and the offset behind the record.

    Raises:
        ValueError: naming the offset, if the file ends inside the record, or the magic or a flag is wrong.
    """
    parts: list[tuple[int, int]] = []
    before: int | None = None
    while before not in (_WHOLE, _LAST):
        if offset + _PART.size > size:
            raise ValueError(
                f"{where} at offset {offset}: the file ends at {size} inside the record; "
                "it was cut short: copy it again"
            )
        magic, word = _PART.unpack_from(source, offset)
        if magic != MAGIC:
            raise ValueError(
                f"{where} at offset {offset}: starts with {magic.hex()}, expected the magic {MAGIC.hex()}; "
                "the .rec is damaged or the .idx belongs to another file: copy both again"
            )
        cflag, length = word >> _LENGTH_BITS, word & MAX_RECORD_BYTES
        if cflag not in _FOLLOWING[before]:
            raise ValueError(
                f"{where} at offset {offset}: part flag {cflag} after {before}, expected one of "
                f"{_FOLLOWING[before]}; the .rec is damaged or the .idx points into the middle of a record: "
                "copy both again"
            )
        start = offset + _PART.size
        if start + length > size:
            raise ValueError(
                f"{where} at offset {offset}: a part of {length} bytes reaches beyond the end of the "
                f"file at {size}; it was cut short: copy it again"
            )
        parts.append((start, start + length))
        offset = start + length + (-length % 4)
        before = cflag
    return parts, offset
