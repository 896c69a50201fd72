"""Targets: lists in text, of pairs, faces and IJB's templates."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, Final

from btnet.data.face_list import read_face_list
from btnet.data.pair_list import read_pairs_of_list
from btnet.public_sets.ijb import read_galleries_and_probes, read_ijb, read_template_pairs
from btnet.public_sets.image_sets import read_lfw_pairs
from fuzzing.mutators import damage
from fuzzing.target import Change, Target, WrongAnswerError, plain

_ODD_FIELDS: Final = (
    b"-1", b"0", b"1", b"2", b"3", b"99999999999999999999", b"1e999", b"nan", b"1.5", b"0x10", b"1_0", b"\xd9\xa3",
    b"\xff", b"\0", b"../../etc/passwd", b"/etc/passwd", b"a" * 5000, b"9" * 6000, b"", b" ", b"\t", b"\n", b"\r", b"#",
    b"\xc2\xb2", b'"',
)  # fmt: skip
_IJB: Final = {
    "ijbc_name_5pts_score.txt": [f"{i}.jpg " + "30.5 40 60 40 45 60 35 80 55 80 0.9" for i in range(1, 7)],
    "ijbc_face_tid_mid.txt": [f"{i}.jpg {(i + 1) // 2} {i}" for i in range(1, 7)],
    "ijbc_template_pair_label.txt": ["1 2 0", "1 3 1", "2 3 0"],
    "ijbc_1N_gallery_G1.csv": ["TEMPLATE_ID,SUBJECT_ID", "1,7"],
    "ijbc_1N_gallery_G2.csv": ["TEMPLATE_ID,SUBJECT_ID", "2,8", "2,8"],
    "ijbc_1N_probe_mixed.csv": ["TEMPLATE_ID,SUBJECT_ID", "3,7"],
}


def damage_field(content: bytes, chance: Random) -> bytes:
    """One field of a line replaced, one line dropped, doubled or moved."""
    lines = content.split(b"\n")
    place, change = chance.randrange(len(lines)), chance.randrange(5)
    if change == 0:
        del lines[place]
    elif change == 1:
        lines.insert(chance.randrange(len(lines)), lines[place])
    else:
        parting = b"," if b"," in lines[place] else b" "
        fields = lines[place].split(parting)
        fields[chance.randrange(len(fields))] = chance.choice(_ODD_FIELDS)
        lines[place] = parting.join(fields)
    return b"\n".join(lines)


def _make_pairs(folder: Path) -> None:
    for person, count in (("anna", 3), ("ben", 2)):
        (folder / "lists" / "people" / person).mkdir(parents=True, exist_ok=True)
        for i in range(1, count + 1):
            (folder / "lists" / "people" / person / f"{person}_{i:04}.jpg").touch()
    lists = {
        "lfw.txt": "2 1\nanna 1 2\nanna 1 ben 1\nanna 2 3\nanna 2 ben 2\n",
        "pairs.txt": "anna/1.jpg anna/2.jpg 1\nanna/1.jpg ben/1.jpg 0\n",
        "faces.txt": "people/anna/1.jpg 0\npeople/anna/2.jpg 0\npeople/ben/1.jpg 1\n",
    }
    for name, text in lists.items():
        (folder / "lists" / name).write_text(text, encoding="utf-8")


def _read_pairs(folder: Path) -> Any:
    """All three, each of which is judged alone: two of them are whole."""
    pairs = read_lfw_pairs(folder / "lfw.txt", folder / "people")
    names, issame, _ = read_pairs_of_list(folder / "pairs.txt")
    faces = read_face_list(folder / "faces.txt", folder)
    if len(names) != 2 * len(issame) or not len(pairs.first) == len(pairs.second) == len(pairs.issame):
        raise WrongAnswerError(f"{len(names)} names for {len(issame)} pairs")
    labels = [face.label for face in faces.faces]
    if sorted(set(labels)) != list(range(max(labels) + 1)):
        raise WrongAnswerError(f"labels {labels}")
    return (
        tuple(pairs.images.names),
        *(plain(array) for array in (pairs.first, pairs.second, pairs.issame)),
        tuple(names),
        tuple(map(int, issame)),
        tuple((face.name, face.label) for face in faces.faces),
    )


def _make_ijb(folder: Path) -> None:
    (folder / "ijb" / "loose_crop").mkdir(parents=True, exist_ok=True)
    if not (
        folder / "ijb" / "meta"
    ).is_symlink():  # the files that a case changes lie in the seed's own folder
        (folder / "ijb" / "meta").symlink_to(".")
    for i in range(1, 7):
        (folder / "ijb" / "loose_crop" / f"{i}.jpg").touch()
    for name, lines in _IJB.items():
        (folder / "ijb" / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _read_ijb(folder: Path) -> Any:
    ijb = read_ijb(folder)
    pairs = read_template_pairs(ijb)
    galleries, probes = read_galleries_and_probes(ijb)
    used = {*pairs.first.tolist(), *pairs.second.tolist(), *probes.templates.tolist()}
    if not used <= set(ijb.templates.tolist()) or len(ijb.landmarks) != len(ijb.templates):
        raise WrongAnswerError(f"templates {sorted(used)} of {ijb.templates.tolist()}")
    arrays = (
        ijb.landmarks,
        ijb.detector_scores,
        ijb.templates,
        ijb.media,
        pairs.first,
        pairs.second,
        pairs.issame,
    )
    lists = [*galleries, probes]
    return (
        *(plain(array) for array in arrays),
        *((plain(each.templates), plain(each.subjects)) for each in lists),
    )


def _accept(original: Any, found: Any, change: Change) -> None:
    """Text has no checksum."""


TARGETS = (
    Target(
        "lists of pairs and faces", _make_pairs, _read_pairs, ("*.txt",),
        limit="that another image of the set, or another label without a gap, was meant", judge=_accept,
        mutators=(damage, damage_field, damage_field),
    ),
    Target(
        "IJB lists", _make_ijb, _read_ijb, ("*.txt", "*.csv"),
        limit="that another number, or another template of the list, was meant", judge=_accept,
        mutators=(damage, damage_field, damage_field),
    ),
)  # fmt: skip
