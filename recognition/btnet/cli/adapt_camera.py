"""Adapt branches to a camera: measure BatchNorm statistics on its unlabelled faces."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.cli import options
from btnet.cli.images import read_crop, tell_left_out
from btnet.console import show
from btnet.files.atomic import refuse_existing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet adapt-camera`."""
    parser.add_argument("model", metavar="MODEL", help="run folder with trunk and branches")
    parser.add_argument(
        "faces",
        type=Path,
        metavar="FACES",
        help="unlabelled face crops of this camera in native size: a folder, with subfolders or not; or X.rec",
    )
    options.add_output(parser, "FOLDER", "folder to write, one for each camera")
    options.add_overwrite(parser)
    parser.add_argument(
        "--prior",
        type=float,
        default=0.0,
        metavar="N",
        help="count the branch's own statistics as those of N faces, where faces are few (default: %(default)g)",
    )
    options.add_strategy(parser)
    options.add_selector(parser)
    parser.add_argument(
        "--resolution", type=int, metavar="PX", help="adapt this branch, with every face, whatever its size"
    )
    options.add_batch_size(parser, 128)
    options.add_device(parser)


def run(args: argparse.Namespace) -> int:
    """Sort the faces by branch, measure, write a file for each branch that has enough; 3 if images were left out."""
    from btnet.method.btnet import BTNet
    from btnet.serving.backend import TorchBackend, torch_device
    from btnet.serving.camera import ENOUGH_FACES, LEAST_FACES, adapt_branch, camera_file
    from btnet.serving.crops import fit_crops
    from btnet.serving.model_folder import load_model
    from btnet.serving.recognizer import Recognizer

    loaded = load_model(args.model)
    model = loaded.model
    if not isinstance(model, BTNet):
        raise ValueError(f"{args.model}: has no branches to adapt; the trunk must not move")
    measured = [args.resolution] if args.resolution is not None else model.resolutions
    refuse_existing(*(camera_file(args.output, r) for r in measured), overwrite=args.overwrite)
    indicator, rule = options.strategy_of(args)
    backend = TorchBackend(loaded, device=torch_device(args.device))
    recognizer = Recognizer(backend, indicator=indicator, rule=rule, selector=options.selector_of(args))
    crops, status = _read(args.faces)
    chosen = recognizer.choose(crops) if args.resolution is None else np.full(len(crops), args.resolution)
    written = 0
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
        written += 1
        show(f"{path}: from {len(mine)} faces, {path.stat().st_size / 1000:.0f} kB")
        if len(mine) < ENOUGH_FACES:
            show(
                f"btnet: warning: {len(mine)} faces for {resolution} px; fewer than {ENOUGH_FACES} may do harm: "
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
    from btnet.data.faces import open_faces
    from btnet.data.found_images import walk_images
    from btnet.serving.crops import as_rgb

    if path.suffix == ".rec":
        faces = open_faces(path)
        return [as_rgb(faces[row][0], faces.describe(row)) for row in range(len(faces))], 0
    found = walk_images(path).need_some()
    status = tell_left_out(found)
    return [read_crop(path / name) for name in found.names], status
