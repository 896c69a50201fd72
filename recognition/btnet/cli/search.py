"""Find the faces of galleries that look most like a probe."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from btnet.cli.recognizer_options import add_recognizer_arguments, load_recognizer, read_crop


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
    from btnet.inference.gallery import Gallery

    galleries = [Gallery.load(path) for path in args.galleries]
    gallery = Gallery.join(galleries, [str(path) for path in args.galleries])
    crop = read_crop(args.probe)
    recognizer = load_recognizer(args)
    gallery.check_trunk(recognizer.backend.trunk_fingerprint, str(args.galleries[0]), f"{args.model} is")
    [matches] = gallery.search(recognizer.embed([crop]), args.top)
    height, width = crop.shape[:2]
    [chosen] = recognizer.choose([crop])
    print(f"{args.probe}: {width} x {height} px, embedded at {chosen} px")
    table = Table()
    for column, justify in (("cosine", "right"), ("face", "left"), ("px", "right")):
        table.add_column(column, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for match in matches:
        table.add_row(f"{match.score:.4f}", match.name, str(match.resolution))
    Console().print(table)
