"""Adapt branches to a camera: BatchNorm statistics from its unlabelled faces, a file of a few kilobytes a branch."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.cli.left_out import tell_left_out
from btnet.cli.overwrite_option import add_overwrite_argument
from btnet.console import show
from btnet.files.atomic import refuse_existing
from btnet.serving.selection import INDICATORS, RULES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet adapt-camera`."""
    parser.add_argument("model", help="run folder with trunk and branches")
    parser.add_argument(
        "--faces",
        type=Path,
        required=True,
        help="face crops of this camera in native size, of anybody: a folder of images, in folders or not; or a .rec",
    )
    parser.add_argument(
        "--prior",
        type=float,
        default=0.0,
        metavar="N",
        help="the branch's own statistics count as those of N faces: for few faces (default: %(default)g)",
    )
    parser.add_argument("--indicator", choices=INDICATORS, default="max", help="as of the recogniser")
    parser.add_argument("--rule", choices=RULES, default="ceil", help="likewise (default: %(default)s)")
    parser.add_argument(
        "--selector", type=Path, metavar="X.json", help="of `btnet-lab fit-selector`, instead of the size"
    )
    parser.add_argument(
        "--resolution", type=int, metavar="R", help="take every face to this branch, whatever its size"
    )
    parser.add_argument(
        "--batch-size", type=int, default=128, help="faces normalised together (default: %(default)s)"
    )
    parser.add_argument("--device", default=None, help="cpu or cuda (default: cuda where there is one)")
    parser.add_argument(
        "--output", "-o", type=Path, required=True, metavar="FOLDER", help="one for each camera"
    )
    add_overwrite_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Sort the faces by branch, measure, write a set for each branch that has enough of them.

    Returns:
        0, or 3 if the folder holds images that were not taken.

    Raises:
        ValueError: if no branch has enough faces, or the model has none.
        FileNotFoundError, NotADirectoryError: if something is missing.
        FileExistsError: if a set is there and may not be replaced.
    """
    from btnet.method.btnet import BTNet
    from btnet.serving.backend import TorchBackend, torch_device
    from btnet.serving.camera import ENOUGH_FACES, LEAST_FACES, adapt_branch, camera_file
    from btnet.serving.crops import fit_crops
    from btnet.serving.model_folder import load_model
    from btnet.serving.optical import OpticalSelector
    from btnet.serving.recognizer import Recognizer

    loaded = load_model(args.model)
    model = loaded.model
    if not isinstance(model, BTNet):
        raise ValueError(f"{args.model}: has no branches to adapt; the trunk must not move")
    measured = [args.resolution] if args.resolution is not None else model.resolutions
    refuse_existing(*(camera_file(args.output, r) for r in measured), overwrite=args.overwrite)
    selector = None if args.selector is None else OpticalSelector.load(args.selector)
    backend = TorchBackend(loaded, device=torch_device(args.device))
    recognizer = Recognizer(backend, indicator=args.indicator, rule=args.rule, selector=selector)
    crops, status = _read(args.faces)
    chosen = recognizer.choose(crops) if args.resolution is None else np.full(len(crops), args.resolution)
    written = []
    for resolution in measured:
        mine = [crops[row] for row in np.flatnonzero(chosen == resolution)]
        if args.resolution is None and len(mine) < LEAST_FACES:
            show(f"{resolution} px: {len(mine)} faces, too few ({LEAST_FACES} at least): stays as it is")
            continue
        views = fit_crops(mine, resolution, model.interpolation)
        camera = adapt_branch(model, resolution, views, prior=args.prior, batch_size=args.batch_size)
        path = camera_file(args.output, resolution)
        args.output.mkdir(parents=True, exist_ok=True)
        camera.save(path)
        written.append(path)
        show(f"{path}: from {len(mine)} faces, {path.stat().st_size / 1000:.0f} kB")
        if len(mine) < ENOUGH_FACES:
            show(
                f"btnet: warning: {len(mine)} faces for {resolution} px; below {ENOUGH_FACES} it may do harm: "
                "collect more, or trust the branch's own statistics with --prior",
                error=True,
            )
    if not written:
        raise ValueError(
            f"{args.faces}: {len(crops)} faces, and for no branch {LEAST_FACES}; collect more of this camera, or name "
            "a branch with --resolution"
        )
    return status


def _read(path: Path) -> tuple[list[NDArray[np.uint8]], int]:
    """The crops, and the exit status if all else is done."""
    from btnet.cli.recognizer_options import read_crop
    from btnet.data.faces import open_faces
    from btnet.data.found_images import walk_images
    from btnet.serving.crops import as_rgb

    if path.suffix == ".rec":
        faces = open_faces(path)
        return [as_rgb(faces[row][0], faces.describe(row)) for row in range(len(faces))], 0
    found = walk_images(path).need_some()
    status = tell_left_out(found)
    return [read_crop(path / name) for name in found.names], status
