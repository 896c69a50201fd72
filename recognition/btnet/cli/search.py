"""Find the faces of galleries that look most like a probe."""

from __future__ import annotations

import argparse
from pathlib import Path

from btnet.cli.recognizer_options import add_recognizer_arguments, load_recognizer, read_crop
from btnet.console import show, show_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet search`."""
    parser.add_argument(
        "galleries", nargs="+", type=Path, metavar="GALLERY.npz", help="files of `btnet embed`, of one trunk"
    )
    parser.add_argument("probe", type=Path, metavar="PROBE", help="a face crop of any size")
    parser.add_argument("--top", "-k", type=int, default=5, help="faces to list (default: %(default)s)")
    add_recognizer_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Print the most similar faces, best first.

    Raises:
        ValueError: for galleries of other trunks, damaged files, or as `load_recognizer`.
        FileNotFoundError: if a file is missing.
    """
    from btnet.serving.gallery import Gallery, search_galleries

    galleries = {str(path): Gallery.load(path) for path in args.galleries}
    crop = read_crop(args.probe)
    recognizer = load_recognizer(args)
    for path, gallery in galleries.items():
        gallery.check_trunk(recognizer.backend.trunk_fingerprint, path, f"{args.model} is")
    [matches] = search_galleries(galleries, recognizer.embed([crop]), args.top)
    height, width = crop.shape[:2]
    [chosen] = recognizer.choose([crop])
    show(f"{args.probe}: {width} x {height} px, embedded at {chosen} px")
    rows = [(f"{m.score:.4f}", m.name, str(m.resolution), m.gallery) for m in matches]
    show_table("", ("cosine", "face", "px", "gallery"), rows, text=(1, 3))
