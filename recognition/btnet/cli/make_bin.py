"""Write a .bin verification set from a list of pairs."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track

from btnet.data.bin_sets import write_bin
from btnet.data.face_files import FaceFiles
from btnet.data.image_codec import decode_image


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet make-bin`."""
    parser.add_argument(
        "--pairs", type=Path, required=True, metavar="FILE", help="lines `face face same`, same being 1 or 0"
    )
    parser.add_argument(
        "--root",
        type=Path,
        required=True,
        help="where the names start: `archive/identity/name.jpg` is a file there, or in archive.zip",
    )
    parser.add_argument("--output", "-o", type=Path, required=True, metavar="X.bin", help="file to write")


def run(args: argparse.Namespace) -> None:
    """Collect the images as they are, check that they fit together, write the set.

    Raises:
        ValueError: for a malformed line or images of different sizes.
        FileNotFoundError: for a face that is not there.
    """
    names, issame = _read_pairs(args.pairs)
    images: list[bytes] = []
    sizes: dict[tuple[int, ...], str] = {}
    quiet = not sys.stderr.isatty()
    with FaceFiles(args.root) as files:
        for name in track(names, "reading", console=Console(stderr=True), disable=quiet, transient=True):
            where = f"{args.pairs}: line {len(images) // 2 + 1}"
            images.append(files.read(name, where))
            height, width = decode_image(images[-1], f"{where}: {name}").shape[:2]
            sizes.setdefault((width, height), name)
            if len(sizes) > 1:
                (first, first_name), (other, other_name) = sizes.items()
                raise ValueError(
                    f"{where}: {other_name} is {other[0]} x {other[1]} px, {first_name} is "
                    f"{first[0]} x {first[1]}; one set has one size: align the faces first"
                )
    write_bin(args.output, images, issame)
    print(f"{args.output}: {len(issame)} pairs, {sum(issame)} of them the same person")


def _read_pairs(path: Path) -> tuple[list[str], list[bool]]:
    names: list[str] = []
    issame: list[bool] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split("\t") if "\t" in line else line.split()
        if len(fields) != 3 or fields[2].strip() not in ("0", "1"):
            raise ValueError(
                f"{path}: line {number} is {line[:80]!r}, expected `face face same` with same 1 or 0"
            )
        names += fields[:2]
        issame.append(fields[2].strip() == "1")
    return names, issame
