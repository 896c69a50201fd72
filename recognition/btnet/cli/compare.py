"""Say how similar two faces are, whatever their sizes."""

from __future__ import annotations

import argparse
from pathlib import Path

from btnet.cli.recognizer_options import add_recognizer_arguments, load_recognizer, read_crop
from btnet.console import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet compare`."""
    parser.add_argument("images", nargs=2, type=Path, metavar="IMAGE", help="face crops of any size")
    add_recognizer_arguments(parser)


def run(args: argparse.Namespace) -> None:
    """Print the cosine, and at which resolution each face was embedded.

    Raises:
        ValueError, FileNotFoundError: for files that are missing or no faces, or as `load_recognizer`.
    """
    from btnet.serving.gallery import unit

    crops = [read_crop(path) for path in args.images]
    recognizer = load_recognizer(args)
    first, second = unit(recognizer.embed(crops))
    for path, crop, chosen in zip(args.images, crops, recognizer.choose(crops), strict=True):
        height, width = crop.shape[:2]
        show(f"{path}: {width} x {height} px, embedded at {chosen} px")
    show(f"cosine {float(first @ second):.4f}")
