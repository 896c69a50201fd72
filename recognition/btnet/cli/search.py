"""Search galleries for the faces most like a probe."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from btnet.cli import options
from btnet.console import show, show_table
from btnet.serving.face_images import read_crop


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet search`."""
    parser.add_argument(
        "galleries", nargs="+", type=Path, metavar="GALLERY.npz", help="files of `btnet embed`, of one trunk"
    )
    parser.add_argument("probe", type=Path, metavar="PROBE", help="face crop of any size")
    parser.add_argument(
        "--top",
        "-k",
        type=int,
        default=5,
        metavar="K",
        help="list the K most similar faces (default: %(default)s)",
    )
    options.add_json(parser)
    options.add_recognizer(parser)


def run(args: argparse.Namespace) -> None:
    """Print the most similar faces, best first."""
    from btnet.serving.gallery import Gallery, search_galleries

    galleries = {str(path): Gallery.load(path) for path in args.galleries}
    crop = read_crop(args.probe)
    recognizer = options.load_recognizer(args)
    for path, gallery in galleries.items():
        gallery.check_trunk(recognizer.trunk_fingerprint, path, f"{args.model} is")
    [matches] = search_galleries(galleries, recognizer.embed([crop]), args.top)
    height, width = crop.shape[:2]
    [chosen] = recognizer.choose([crop]).tolist()
    if args.json:
        probe = {"image": str(args.probe), "width": width, "height": height, "resolution": chosen}
        options.print_json({"probe": probe, "matches": [asdict(match) for match in matches]})
        return
    show(f"{args.probe}: {width} x {height} px, embedded at {chosen} px")
    rows = [(f"{m.score:.4f}", m.name, str(m.resolution), m.gallery) for m in matches]
    show_table("", ("cosine", "face", "px", "gallery"), rows, text=(1, 3))
