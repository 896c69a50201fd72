"""Lists of verification pairs as they are distributed: LFW's, SLLFW's, CALFW's and CPLFW's, and our own.

- ours: `face face same`, one pair a line, `same` being 1 or 0;
- LFW's: `NAME i j` for images i and j of one person, `NAME i OTHER j` for two people (or one, where the names agree),
  behind a line `FOLDS PAIRS` (pairs.txt, XQLFW) or `PAIRS` (pairsDevTest.txt);
- SLLFW's: `NAME/NAME_0001.jpg`, a pair on two lines or on one;
- CALFW's and CPLFW's: `NAME_0001.jpg fold`, a pair on two lines, of one person unless `fold` is 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from btnet.data.face_files import FaceFiles, stored_name
from btnet.data.found_images import IMAGE_ENDINGS
from btnet.files.text import Line, is_whole, plain_name, read_lines

__all__ = ["NUM_FOLDS", "PairList", "read_pairs_of_list"]

NUM_FOLDS: Final = 10
"""Folds of consecutive pairs, where the list does not say."""

_OWN: Final = "`face face same` with same 1 or 0"
_LFW: Final = "`NAME i j` or `NAME i OTHER j`"
_SLLFW: Final = "`NAME/NAME_0001.jpg`, two lines a pair"
_CALFW: Final = "`NAME_0001.jpg fold`, two lines a pair with one fold"
_SLLFW_IMAGE: Final = re.compile(r"(?:.*/)?([^/]+)/\1_\d+\.\w+")


class PairList(NamedTuple):
    """Pairs of names.

    Attributes:
        names: those of pair i at 2 i and 2 i + 1.
        issame: whether a pair shows one person.
        num_folds: folds of consecutive pairs.
    """

    names: list[str]
    issame: list[bool]
    num_folds: int = NUM_FOLDS


class _Pair(NamedTuple):
    first: str
    second: str
    issame: bool


def read_pairs_of_list(path: Path, root: Path | None = None) -> PairList:
    """Read a list of pairs of any of the kinds above; the first line tells which.

    Names that hold spaces are clear between tabs; between spaces the files below `root` decide where a line can be
    read in several ways. pairsDevTest.txt has no folds: its pairs are taken in turns, one of one person, one of two.

    Args:
        path: the list.
        root: where the names start; names are then those under which the images are stored.

    Raises:
        ValueError: with the line, for one of another form or of two meanings; or another number of lines than the
            first one says, or of pairs of one person in a fold.
        NotADirectoryError: if there is no such root.
    """
    lines = list(read_lines(path))
    if root is None:
        return _parse(path, lines, None)
    with FaceFiles(root) as files:
        return _parse(path, lines, files)


def _parse(path: Path, lines: list[Line], files: FaceFiles | None) -> PairList:
    if not lines:
        raise ValueError(f"{path}: no line in it; expected {_OWN}, or pairs in LFW's format")
    fields = lines[0].text.split()
    num_images = sum(field.lower().endswith(IMAGE_ENDINGS) for field in fields)
    if len(fields) <= 2 and all(map(is_whole, fields)):
        return _lfw(lines, [int(field) for field in fields], files)
    if _person(lines[0].text) or _sllfw_pairs(lines[0]):
        return _joined(_sllfw(lines, files))
    if num_images == 1 and is_whole(fields[-1]) and fields[-2].lower().endswith(IMAGE_ENDINGS):
        return _joined(_calfw(lines, files))
    return _joined(_chosen(line, _own_pairs(line), _OWN, files) for line in lines)


def _joined(pairs: Iterable[_Pair], num_folds: int = NUM_FOLDS) -> PairList:
    kept = list(pairs)
    names = [name for pair in kept for name in (pair.first, pair.second)]
    return PairList(names, [pair.issame for pair in kept], num_folds)


def _chosen(line: Line, meanings: Sequence[_Pair], expected: str, files: FaceFiles | None) -> _Pair:
    """The one meaning of a line, under the names that are stored."""
    if len(meanings) > 1 and files is not None:
        meanings = [pair for pair in meanings if files.find(pair.first) and files.find(pair.second)]
    if not meanings:
        raise line.error(expected)
    if len(meanings) > 1:
        raise line.error(f"{expected}; it can be read in {len(meanings)} ways: part the fields by tabs")
    first, second, issame = meanings[0]
    return _Pair(stored_name(files, first, line), stored_name(files, second, line), issame)


def _parted(line: Line) -> list[tuple[str, str]]:
    """Every way to part a line in two."""
    return [(line.text[: gap.start()], line.text[gap.end() :]) for gap in re.finditer(r"[ \t]+", line.text)]


def _own_pairs(line: Line) -> list[_Pair]:
    if "\t" in line.text:
        fields = [field.strip() for field in line.text.split("\t")]
        if len(fields) != 3:
            return []
        named, same = [(fields[0], fields[1])], fields[2]
    else:
        body, _, same = line.text.rpartition(" ")
        named = _parted(Line(line.where, body.rstrip()))
        images = [pair for pair in named if all(name.lower().endswith(IMAGE_ENDINGS) for name in pair)]
        named = images or named
    return [_Pair(first, second, same == "1") for first, second in named if same in ("0", "1")]


def _lfw(lines: list[Line], header: list[int], files: FaceFiles | None) -> PairList:
    """The lines behind a header `folds pairs` or `pairs`, as many of one person as of two in each fold."""
    num_folds, num_each = header if len(header) == 2 else (1, header[0])
    body = lines[1:]
    if not body or len(body) != 2 * num_folds * num_each:
        raise ValueError(
            f"{lines[0].where}: {len(body)} pairs follow, but this line announces {num_folds} folds of twice "
            f"{num_each}; the file is cut or of another kind: copy it again"
        )
    pairs = [_chosen(line, _lfw_pairs(line, files), _LFW, files) for line in body]
    for start in range(0, len(pairs), 2 * num_each):
        num_same = sum(pair.issame for pair in pairs[start : start + 2 * num_each])
        if num_same != num_each:
            raise ValueError(
                f"{body[start].where}: {num_same} of the {2 * num_each} pairs from here on show one person, "
                f"expected {num_each} as the first line announces; copy the file again"
            )
    if len(header) == 2:
        return _joined(pairs, num_folds)
    same, other = ([pair for pair in pairs if pair.issame is kind] for kind in (True, False))
    return _joined(pair for both in zip(same, other, strict=True) for pair in both)


def _lfw_pairs(line: Line, files: FaceFiles | None) -> list[_Pair]:
    text = line.text
    if "\t" in text:
        fields = [field.strip() for field in text.split("\t")]
        found = [[fields[0], *fields[-3:]]] if len(fields) in (3, 4) else []
        if len(fields) == 3:
            found = [[fields[0], fields[1], fields[0], fields[2]]]
    else:
        words = [word.span() for word in re.finditer("[^ ]+", text)]
        fields = [text[start:stop] for start, stop in words]
        last = len(words) - 1
        found = []
        if last >= 2:
            person = text[: words[last - 2][1]]
            found.append([person, fields[last - 1], person, fields[last]])
        for i in range(1, last - 1):
            person, other = text[: words[i - 1][1]], text[words[i + 1][0] : words[last - 1][1]]
            found.append([person, fields[i], other, fields[last]])
    return [
        _Pair(
            _lfw_image(files, person, i), _lfw_image(files, other, j), plain_name(person) == plain_name(other)
        )
        for person, i, other, j in found
        if is_whole(i) and is_whole(j)
    ]


def _lfw_image(files: FaceFiles | None, person: str, number: str) -> str:
    names = [f"{person}/{person}_{int(number):04d}{ending}" for ending in IMAGE_ENDINGS]
    return next((name for name in names if files is not None and files.find(name)), names[0])


def _sllfw(lines: list[Line], files: FaceFiles | None) -> Iterable[_Pair]:
    if _person(lines[0].text):
        for line in lines:
            if not _person(line.text):
                raise line.error(_SLLFW)
        parted = [(line, [(line.text, other.text)]) for line, other in _two_lines(lines, _SLLFW)]
    else:
        parted = [(line, _sllfw_pairs(line)) for line in lines]
    for line, pairs in parted:
        yield _chosen(
            line, [_Pair(*pair, _person(pair[0]) == _person(pair[1])) for pair in pairs], _SLLFW, files
        )


def _sllfw_pairs(line: Line) -> list[tuple[str, str]]:
    return [pair for pair in _parted(line) if all(map(_person, pair))]


def _person(name: str) -> str:
    """Of `NAME/NAME_0001.jpg`; empty for another form."""
    match = _SLLFW_IMAGE.fullmatch(plain_name(name))
    return match[1] if match else ""


def _calfw(lines: list[Line], files: FaceFiles | None) -> Iterable[_Pair]:
    for pair in _two_lines(lines, _CALFW):
        fields = [line.text.rsplit(maxsplit=1) for line in pair]
        for line, (name, *fold) in zip(pair, fields, strict=True):
            if (
                not name.lower().endswith(IMAGE_ENDINGS)
                or fold != fields[0][1:]
                or not all(map(is_whole, fold))
            ):
                raise line.error(_CALFW)
        yield _chosen(pair[0], [_Pair(fields[0][0], fields[1][0], int(fields[0][1]) > 0)], _CALFW, files)


def _two_lines(lines: list[Line], expected: str) -> Iterable[tuple[Line, Line]]:
    if len(lines) % 2:
        raise lines[-1].error(f"{expected}: the second of its pair is missing")
    return zip(lines[::2], lines[1::2], strict=True)
