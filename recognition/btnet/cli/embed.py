"""Embed every face image in a folder into a gallery file."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.cli import options
from btnet.cli.images import LEFT_OUT, tell_left_out
from btnet.console import progress_bar, show
from btnet.data.found_images import walk_images
from btnet.files.atomic import refuse_existing
from btnet.serving.face_images import read_crop

# Pixels held before they are embedded: enough for full batches of small faces, little for large pictures.
_BLOCK_BYTES = 64 << 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet embed`."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="face crops of any size, with subfolders or not (JPEG, PNG, BMP, WebP)",
    )
    options.add_output(parser, "X.npz", "gallery to write")
    options.add_overwrite(parser)
    parser.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="replace a gallery even where files cannot be read (default: --overwrite keeps it then)",
    )
    options.add_recognizer(parser)


def run(args: argparse.Namespace) -> int:
    """Embed the folder, write the gallery, list what could not be read.

    Returns:
        0, or 3 if some images could not be read or were not taken; the gallery then holds the rest, unless it would
        replace another.
    """
    from btnet.serving.gallery import Gallery, check_ending

    check_ending(args.output)
    refuse_existing(args.output, overwrite=args.overwrite)
    found = walk_images(args.folder).need_some()
    if not args.output.parent.is_dir():
        raise FileNotFoundError(f"{args.output.parent}: no such folder; create it first")
    recognizer = options.load_recognizer(args)
    unreadable: list[str] = []
    names: list[str] = []
    resolutions: list[int] = []
    embeddings: list[NDArray[np.float32]] = []
    with progress_bar("embedding", len(found.names)) as progress:
        for block in _read_blocks(args.folder, found.names, unreadable):
            names += block
            crops = list(block.values())
            resolutions += recognizer.choose(crops).tolist()
            embeddings.append(recognizer.embed(crops, progress=progress))
    for reason in unreadable:
        show(f"btnet: unreadable: {reason}", error=True)
    if not names:
        raise ValueError(f"{args.folder}: none of {len(found.names)} images is readable; no gallery written")
    if unreadable:
        show(f"btnet: {len(unreadable)} of {len(found.names)} files could not be read", error=True)
    status = tell_left_out(found)
    if unreadable and args.output.exists() and not args.skip_unreadable:
        show(
            f"btnet: {args.output}: kept as it was, because the new gallery would lack faces; repair or remove these "
            "files, or leave them out with --skip-unreadable",
            error=True,
        )
        return LEFT_OUT
    trunk = recognizer.trunk_fingerprint
    gallery = Gallery(np.concatenate(embeddings), tuple(names), np.array(resolutions, np.int64), trunk)
    gallery.save(args.output)
    show(f"{args.output}: {len(gallery)} faces ({_by_resolution(gallery.resolutions)}), trunk {trunk[:12]}")
    return LEFT_OUT if unreadable else status


def _read_blocks(
    folder: Path, names: list[str], unreadable: list[str]
) -> Iterator[dict[str, NDArray[np.uint8]]]:
    """Crops by name; reasons of those that cannot be read are added to `unreadable`."""
    block: dict[str, NDArray[np.uint8]] = {}
    num_bytes = 0
    for name in names:
        try:
            block[name] = read_crop(folder / name)
        except (ValueError, OSError) as error:
            unreadable.append(str(error))
            continue
        num_bytes += block[name].nbytes
        if num_bytes >= _BLOCK_BYTES:
            yield block
            block, num_bytes = {}, 0
    if block:
        yield block


def _by_resolution(resolutions: NDArray[np.int64]) -> str:
    sizes, counts = np.unique(resolutions, return_counts=True)
    return ", ".join(f"{count} at {size} px" for size, count in zip(sizes, counts, strict=True))
