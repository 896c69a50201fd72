"""Write a .bin verification set from a list of pairs, or draw the pairs from identity folders."""

import argparse
from pathlib import Path

from btnet.cli import options
from btnet.cli.images import tell_left_out
from btnet.console import show
from btnet.data.folder_faces import FolderFaces
from btnet.data.packing import pack_pairs
from btnet.data.pair_list import read_pairs_of_list
from btnet.data.pairs import draw_pairs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet make-bin`."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="list of pairs: lines `face face same`, same being 1 or 0, or a list of LFW, XQLFW, SLLFW, CALFW, CPLFW; "
        "with --draw a folder of identity folders",
    )
    options.add_output(parser, "X.bin")
    parser.add_argument(
        "--root",
        type=Path,
        metavar="FOLDER",
        help="where the list's names start (`archive/identity/name.jpg` is a file there, or in archive.zip; default: "
        "the list's folder)",
    )
    parser.add_argument(
        "--draw",
        type=int,
        metavar="N",
        help="draw N pairs from the folder SOURCE, half of them of one person",
    )
    parser.add_argument("--seed", type=int, default=0, help="of --draw (default: %(default)s)")
    options.add_aligned_size(parser)


def run(args: argparse.Namespace) -> int:
    """Collect the images, check that they are aligned faces, write the set; 3 if images were not taken."""
    root = args.root or (args.source.parent if args.draw is None else args.source)
    faces = FolderFaces(root) if args.draw is not None else None
    if faces is None:
        names, issame, _ = read_pairs_of_list(args.source, root)
    else:
        positions, same = draw_pairs(faces.labels, args.draw, seed=args.seed)
        names, issame = [faces.found.names[i] for i in positions.tolist()], same.tolist()
    pack_pairs(
        names,
        issame,
        args.output,
        root=root,
        source=args.source,
        size=args.size,
        interpolation=args.interpolation,
    )
    show(f"{args.output}: {len(issame)} pairs, {sum(issame)} of them the same person")
    return 0 if faces is None else tell_left_out(faces.found)
