"""Pack faces into an InsightFace .rec training set, or rebuild the .idx of one."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import track

from btnet.data.face_files import FaceFiles
from btnet.data.folder_faces import FolderFaces
from btnet.data.image_codec import decode_image, encode_jpeg
from btnet.data.record_faces import write_record_faces
from btnet.data.record_index import index_path, rebuild_index
from btnet.data.resize import INTERPOLATIONS, resize

_CANONICAL_SIZE = 112
_KEPT_AS_THEY_ARE = (b"\xff\xd8\xff", b"\x89PNG\r\n")  # what every reader of .rec files decodes


class _Listed(NamedTuple):
    """One line of the set to pack."""

    name: str
    label: int
    where: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet make-rec`."""
    parser.add_argument(
        "folder", nargs="?", type=Path, help="root of identity folders (FOLDER/IDENTITY/IMAGE.jpg)"
    )
    parser.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="instead of a folder: lines `archive/identity/name.jpg label`",
    )
    parser.add_argument(
        "--root",
        type=Path,
        help="where the names of --list start; `archive` is a folder or archive.zip there",
    )
    parser.add_argument("--output", "-o", type=Path, metavar="X.rec", help="file to write, X.idx beside it")
    parser.add_argument(
        "--size",
        type=int,
        help=f"resize images that differ to SIZE px (default: refuse all but {_CANONICAL_SIZE} px)",
    )
    parser.add_argument(
        "--keep-size",
        action="store_true",
        help="pack images of any size as they are, such as the native crops of QMUL-SurvFace; training resizes them",
    )
    parser.add_argument(
        "--interpolation", choices=INTERPOLATIONS, default="area", help="used by --size (default: area)"
    )
    parser.add_argument(
        "--quality", type=int, default=95, help="JPEG quality of re-encoded images (default: 95)"
    )
    parser.add_argument(
        "--index", type=Path, metavar="X.rec", help="only rebuild the missing X.idx of this file"
    )


def run(args: argparse.Namespace) -> None:
    """Pack, or rebuild an index.

    Raises:
        ValueError: for options that do not go together, labels with gaps, an image of another size.
    """
    if args.index is not None:
        print(f"{index_path(args.index)}: {rebuild_index(args.index)} records")
        return
    if args.output is None:
        raise ValueError("make-rec: no output; name it with --output X.rec")
    if args.keep_size and args.size is not None:
        raise ValueError("make-rec: --keep-size and --size exclude each other; give one")
    listed, class_names, root = _list_faces(args.folder, args.list, args.root)
    with FaceFiles(root) as files:
        write_record_faces(
            args.output,
            [face.label for face in listed],
            _encoded(files, listed, args.size, args.interpolation, args.quality, keep_size=args.keep_size),
            class_names=class_names,
        )
    print(f"{args.output}: {len(listed)} images of {listed[-1].label + 1} identities")


def _list_faces(
    folder: Path | None, list_path: Path | None, root: Path | None
) -> tuple[list[_Listed], list[str] | None, Path]:
    """The faces in the order of their labels, the class names if there are any, and where names start."""
    if folder is not None and list_path is None and root is None:
        faces = FolderFaces(folder)
        names = [faces.path(index).relative_to(folder).as_posix() for index in range(len(faces))]
        listed = [
            _Listed(name, label, str(folder))
            for name, label in zip(names, faces.labels.tolist(), strict=True)
        ]
        return listed, faces.class_names, folder
    if folder is None and list_path is not None and root is not None:
        listed = sorted(_read_list(list_path), key=lambda face: face.label)
        _check_contiguous(list_path, listed)
        return listed, _name_classes(listed), root
    raise ValueError(
        "make-rec: give either a folder of identities, or --list FILE together with --root FOLDER"
    )


def _read_list(path: Path) -> Iterator[_Listed]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        # Names may hold spaces; the label is the last field.
        name, *label = line.strip().rsplit(maxsplit=1)
        if len(label) != 1 or not label[0].isdecimal():
            raise ValueError(
                f"{path}: line {number} is {line[:80]!r}, expected `archive/identity/name.jpg label`"
            )
        yield _Listed(name, int(label[0]), f"{path}: line {number}")


def _check_contiguous(path: Path, listed: list[_Listed]) -> None:
    labels = np.unique([face.label for face in listed])
    if not len(labels):
        raise ValueError(f"{path}: no line in it; expected `archive/identity/name.jpg label`")
    gaps = np.flatnonzero(labels != np.arange(len(labels)))
    if len(gaps):
        raise ValueError(
            f"{path}: no image has label {gaps[0]}, the next label is {labels[gaps[0]]}; labels must run "
            f"from 0 to {len(labels) - 1} without a gap, one for each of the {len(labels)} classes: "
            "renumber them"
        )


def _name_classes(listed: list[_Listed]) -> list[str] | None:
    """The folder of each class's first image, unless two classes share one: then there are no names."""
    names: dict[int, str] = {}
    for face in listed:
        names.setdefault(face.label, face.name.rpartition("/")[0])
    return list(names.values()) if len(set(names.values())) == len(names) else None


def _encoded(
    files: FaceFiles,
    listed: list[_Listed],
    size: int | None,
    interpolation: str,
    quality: int,
    *,
    keep_size: bool,
) -> Iterator[bytes]:
    quiet = not sys.stderr.isatty()
    for face in track(listed, "packing", console=Console(stderr=True), disable=quiet, transient=True):
        data = files.read(face.name, face.where)
        where = f"{face.where}: {face.name}"
        # Decoded even where the bytes are kept: a set is packed once and read by every epoch.
        image = decode_image(data, where)
        wanted = _CANONICAL_SIZE if size is None else size
        fits = keep_size or image.shape[:2] == (wanted, wanted)
        if fits and data.startswith(_KEPT_AS_THEY_ARE):
            yield data
        elif fits:
            yield encode_jpeg(image, quality)
        elif size is None:
            raise ValueError(
                f"{where} is {image.shape[1]} x {image.shape[0]} px, expected {wanted} x {wanted}; "
                f"align it first, or resize all that differ with --size {wanted}"
            )
        else:
            yield encode_jpeg(resize(image, size, interpolation), quality)
