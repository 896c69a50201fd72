"""Write a .bin verification set from a list of pairs, or from pairs drawn of identity folders."""

import argparse
from pathlib import Path

from btnet.cli.left_out import tell_left_out
from btnet.console import show
from btnet.data.aligned import CANONICAL_SIZE
from btnet.data.folder_faces import FolderFaces
from btnet.data.packing import pack_pairs
from btnet.data.pairs import draw_pairs, read_pair_list
from btnet.images.resize import INTERPOLATIONS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet make-bin`."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--pairs",
        type=Path,
        metavar="FILE",
        help="lines `face face same`, same being 1 or 0; or the lists of LFW, XQLFW, SLLFW, CALFW, CPLFW",
    )
    source.add_argument(
        "--draw",
        type=int,
        metavar="N",
        help="draw N pairs of the identity folders in --root, half of one person",
    )
    parser.add_argument(
        "--root",
        type=Path,
        required=True,
        help="where the names start: `archive/identity/name.jpg` is a file there, or in archive.zip",
    )
    parser.add_argument("--seed", type=int, default=0, help="of --draw (default: %(default)s)")
    parser.add_argument(
        "--size",
        type=int,
        help=f"resize squares of other sizes to SIZE px (default: refuse all but {CANONICAL_SIZE} x {CANONICAL_SIZE})",
    )
    parser.add_argument(
        "--interpolation",
        choices=INTERPOLATIONS,
        default="area",
        help="used by --size (default: %(default)s)",
    )
    parser.add_argument("--output", "-o", type=Path, required=True, metavar="X.bin", help="file to write")


def run(args: argparse.Namespace) -> int:
    """Collect the images, check that they are aligned faces, write the set.

    Returns:
        0, or 3 if the folder that is drawn of holds images that were not taken.

    Raises:
        ValueError: for a malformed line, an image of another size, or more pairs than can be drawn.
        FileNotFoundError: for a face that is not there.
    """
    faces = FolderFaces(args.root) if args.draw is not None else None
    if faces is None:
        names, issame = read_pair_list(args.pairs, args.root)
    else:
        positions, same = draw_pairs(faces.labels, args.draw, seed=args.seed)
        names, issame = [faces.found.names[i] for i in positions.tolist()], same.tolist()
    pack_pairs(
        names,
        issame,
        args.output,
        root=args.root,
        source=args.pairs or args.root,
        size=args.size,
        interpolation=args.interpolation,
    )
    show(f"{args.output}: {len(issame)} pairs, {sum(issame)} of them the same person")
    return 0 if faces is None else tell_left_out(faces.found)
