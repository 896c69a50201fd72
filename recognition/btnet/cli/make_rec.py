"""Pack faces into an InsightFace .rec training set, or rebuild the .idx of one."""

import argparse
from pathlib import Path

from btnet.cli import options
from btnet.cli.images import tell_left_out
from btnet.console import show
from btnet.data.face_list import list_folder, read_face_list
from btnet.data.packing import pack_faces
from btnet.data.record_index import index_path, rebuild_index


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet make-rec`."""
    parser.add_argument(
        "source",
        nargs="?",
        type=Path,
        metavar="SOURCE",
        help="folder of identity folders (FOLDER/IDENTITY/IMAGE.jpg); or a list: lines `archive/identity/name.jpg "
        "label`, or MXNet's .lst",
    )
    options.add_output(parser, "X.rec", "file to write, X.idx beside it", required=False)
    parser.add_argument(
        "--root",
        type=Path,
        metavar="FOLDER",
        help="where the list's names start; `archive` is a folder or archive.zip there (default: the list's folder)",
    )
    options.add_aligned_size(parser)
    parser.add_argument(
        "--keep-size",
        action="store_true",
        help="pack images of any size and shape as they are, such as QMUL-SurvFace's native crops; training takes "
        "them with native_crops=True",
    )
    parser.add_argument(
        "--quality", type=int, default=95, help="JPEG quality of re-encoded images (default: %(default)s)"
    )
    parser.add_argument(
        "--index", type=Path, metavar="X.rec", help="only rebuild the missing X.idx of this file"
    )


def run(args: argparse.Namespace) -> int:
    """Pack, or rebuild an index; 3 if the folder holds images that were not taken."""
    if args.index is not None:
        show(f"{index_path(args.index)}: {rebuild_index(args.index)} records")
        return 0
    if args.source is None or args.output is None:
        raise ValueError("make-rec: give a folder of identity folders or a list of faces, and --output X.rec")
    if args.keep_size and args.size is not None:
        raise ValueError("make-rec: --keep-size and --size exclude each other; give one")
    if args.source.is_dir():
        if args.root is not None:
            raise ValueError(f"make-rec: --root is for a list, and {args.source} is a folder; leave it out")
        listed = list_folder(args.source)
    else:
        listed = read_face_list(args.source, args.root or args.source.parent)
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
