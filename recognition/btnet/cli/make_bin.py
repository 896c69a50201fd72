"""Write a .bin verification set from a list of pairs, or from pairs drawn of identity folders."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track

from btnet.data.bin_sets import write_bin
from btnet.data.face_files import FaceFiles
from btnet.data.folder_faces import FolderFaces
from btnet.data.image_codec import decode_image
from btnet.data.pairs import draw_pairs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet make-bin`."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--pairs", type=Path, metavar="FILE", help="lines `face face same`, same being 1 or 0"
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
    names, issame = _read_pairs(args.pairs) if args.pairs else _draw_pairs(args.root, args.draw, args.seed)
    images: list[bytes] = []
    sizes: dict[tuple[int, ...], str] = {}
    quiet = not sys.stderr.isatty()
    with FaceFiles(args.root) as files:
        for name in track(names, "reading", console=Console(stderr=True), disable=quiet, transient=True):
            where = f"{args.pairs or args.root}: pair {len(images) // 2 + 1}"
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


def _draw_pairs(root: Path, num_pairs: int, seed: int) -> tuple[list[str], list[bool]]:
    faces = FolderFaces(root)
    positions, issame = draw_pairs(faces.labels, num_pairs, seed=seed)
    return [faces.path(i).relative_to(root).as_posix() for i in positions.tolist()], issame.tolist()


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
