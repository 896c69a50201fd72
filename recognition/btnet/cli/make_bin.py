"""Write a .bin verification set from a list of pairs, or from pairs drawn of identity folders."""

import argparse
from pathlib import Path

from btnet.console import show
from btnet.data.folder_faces import FolderFaces
from btnet.data.packing import pack_pairs
from btnet.data.pairs import draw_pairs, read_pair_list


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
    parser.add_argument("--output", "-o", type=Path, required=True, metavar="X.bin", help="file to write")


def run(args: argparse.Namespace) -> None:
    """Collect the images as they are, check that they fit together, write the set.

    Raises:
        ValueError: for a malformed line, images of different sizes, or more pairs than can be drawn.
        FileNotFoundError: for a face that is not there.
    """
    names, issame = (
        read_pair_list(args.pairs, args.root) if args.pairs else _draw_pairs(args.root, args.draw, args.seed)
    )
    pack_pairs(names, issame, args.output, root=args.root, source=args.pairs or args.root)
    show(f"{args.output}: {len(issame)} pairs, {sum(issame)} of them the same person")


def _draw_pairs(root: Path, num_pairs: int, seed: int) -> tuple[list[str], list[bool]]:
    faces = FolderFaces(root)
    positions, issame = draw_pairs(faces.labels, num_pairs, seed=seed)
    return [faces.path(i).relative_to(root).as_posix() for i in positions.tolist()], issame.tolist()
