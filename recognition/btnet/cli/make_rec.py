"""Pack faces into an InsightFace .rec training set, or rebuild the .idx of one."""

import argparse
from pathlib import Path

from btnet.cli.left_out import tell_left_out
from btnet.console import show
from btnet.data.aligned import CANONICAL_SIZE
from btnet.data.face_list import FaceList, list_folder, read_face_list
from btnet.data.packing import pack_faces
from btnet.data.record_index import index_path, rebuild_index
from btnet.images.resize import INTERPOLATIONS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet make-rec`."""
    parser.add_argument(
        "folder", nargs="?", type=Path, help="root of identity folders (FOLDER/IDENTITY/IMAGE.jpg)"
    )
    parser.add_argument(
        "--list",
        type=Path,
        metavar="FILE",
        help="instead of a folder: lines `archive/identity/name.jpg label`, or MXNet's .lst",
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
        help=f"resize squares of other sizes to SIZE px (default: refuse all but {CANONICAL_SIZE} x {CANONICAL_SIZE})",
    )
    parser.add_argument(
        "--keep-size",
        action="store_true",
        help="pack images of any size and shape as they are, such as the native crops of QMUL-SurvFace; training takes "
        "them with native_crops=True",
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


def run(args: argparse.Namespace) -> int:
    """Pack, or rebuild an index.

    Returns:
        0, or 3 if the folder holds images that were not taken.

    Raises:
        ValueError: for options that do not go together, labels with gaps, an image of another size.
    """
    if args.index is not None:
        show(f"{index_path(args.index)}: {rebuild_index(args.index)} records")
        return 0
    if args.output is None:
        raise ValueError("make-rec: no output; name it with --output X.rec")
    if args.keep_size and args.size is not None:
        raise ValueError("make-rec: --keep-size and --size exclude each other; give one")
    listed = _list_faces(args.folder, args.list, args.root)
    pack_faces(
        listed,
        args.output,
        size=args.size,
        keep_size=args.keep_size,
        interpolation=args.interpolation,
        quality=args.quality,
    )
    show(f"{args.output}: {len(listed.faces)} images of {listed.num_classes} identities")
    return 0 if listed.found is None else tell_left_out(listed.found)


def _list_faces(folder: Path | None, list_path: Path | None, root: Path | None) -> FaceList:
    if folder is not None and list_path is None and root is None:
        return list_folder(folder)
    if folder is None and list_path is not None and root is not None:
        return read_face_list(list_path, root)
    raise ValueError(
        "make-rec: give either a folder of identities, or --list FILE together with --root FOLDER"
    )
