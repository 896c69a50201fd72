"""Names of a training set's classes: one per label, the same however the set was packed.

A class is called after its folder, in the one form of `btnet.files.text.plain_name`. They stand in NAME.classes.txt
beside a packed set, one a line in the order of the labels, in UTF-8.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from btnet.files.atomic import replacing
from btnet.files.text import is_utf8, plain_name, read_lines

__all__ = ["check_class_names", "class_names_path", "name_classes", "read_class_names", "write_class_names"]


def class_names_path(set_path: Path) -> Path:
    """Where the names of a packed set's classes stand."""
    return set_path.with_suffix(".classes.txt")


def name_classes(faces: Iterable[tuple[str, int]]) -> list[str] | None:
    """Name each label after the folder of its images, `archive/identity/name.jpg`; labels from 0 without a gap.

    Returns:
        `identity` for each label, `archive/identity` where two labels would have one name; None where two have one name
        even so, or there is no folder. Of several folders of one label the first by name counts.
    """
    folders: dict[int, str] = {}
    for name, label in faces:
        folder = plain_name(name).rpartition("/")[0]
        folders[label] = min(folder, folders.get(label, folder))
    whole = [folders[label] for label in sorted(folders)]
    identities = [folder.rpartition("/")[2] for folder in whole]
    count = Counter(identities)
    names = [
        identity if count[identity] == 1 else folder
        for identity, folder in zip(identities, whole, strict=True)
    ]
    return names if all(names) and len(set(names)) == len(names) else None


def check_class_names(names: Sequence[str], where: str, *, one_a_line: bool = False) -> list[str]:
    """The names in their one form.

    Raises:
        ValueError: if two classes have one name: it could not lead back to a label; or, where they will be written one
            a line, if one holds a line break.
    """
    plain = [plain_name(name) for name in names]
    for name in plain:
        if one_a_line and ("\n" in name or "\r" in name):
            raise ValueError(f"{where}: class name {name!r} holds a line break; rename that class")
    seen: dict[str, int] = {}
    for label, name in enumerate(plain):
        if seen.setdefault(name, label) != label:
            raise ValueError(
                f"{where}: class name {name!r} occurs twice (labels {seen[name]} and {label}), however its letters are "
                "encoded; merge or rename them"
            )
    return plain


def read_class_names(set_path: Path, num_classes: int) -> list[str]:
    """Names in the order of the labels: from `NAME.classes.txt` beside a set, else the labels themselves.

    Raises:
        ValueError: if the file names another number of classes, or two alike, or is not in UTF-8.
    """
    path = class_names_path(set_path)
    if not path.is_file():
        return [str(label) for label in range(num_classes)]
    lines = list(read_lines(path, exactly=True))
    while len(lines) > num_classes and not lines[-1].text.strip():
        lines.pop()
    for line in lines:
        if not is_utf8(line.text):
            raise line.error("a name in utf-8; save the file in it")
    if len(lines) != num_classes:
        raise ValueError(
            f"{path}: {len(lines)} names, but {set_path.name} has {num_classes} classes; "
            "the file belongs to another set: copy the right one, or delete it"
        )
    return check_class_names([line.text for line in lines], str(path))


def write_class_names(set_path: Path, names: Sequence[str] | None) -> None:
    """Write the names beside a set; None: remove those of a set that stood there before."""
    path = class_names_path(set_path)
    if names is None:
        path.unlink(missing_ok=True)
        return
    with replacing(path) as temporary:
        temporary.write_bytes("".join(f"{name}\n" for name in names).encode())
