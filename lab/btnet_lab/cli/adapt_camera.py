"""Write a model whose branches have the BatchNorm statistics of one camera, from its unlabelled faces."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from btnet.cli import options
from btnet.cli.images import tell_left_out
from btnet.console import show
from btnet.serving.face_images import read_crop


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet-lab adapt-camera`."""
    parser.add_argument("model", type=Path, metavar="RUN", help="run folder with trunk and branches")
    parser.add_argument(
        "faces",
        type=Path,
        metavar="FACES",
        help="face crops of this camera in native size, of anybody: a folder of images, in folders or not; or a .rec",
    )
    options.add_output(parser, "FOLDER", "model folder to write, one for each camera")
    options.add_overwrite(parser)
    parser.add_argument(
        "--prior",
        type=float,
        default=0.0,
        metavar="N",
        help="count the branch's own statistics as those of N faces, where faces are few (default: %(default)g)",
    )
    parser.add_argument(
        "--resolution", type=int, metavar="PX", help="take every face to this branch, whatever its size"
    )
    options.add_batch_size(parser, 128)


def run(args: argparse.Namespace) -> int:
    """Sort the faces by branch, measure, write the model.

    Returns:
        0, or 3 if the folder holds images that were not taken.
    """
    from btnet.files.atomic import refuse_existing
    from btnet.method.btnet import BTNet
    from btnet.model_folder.manifest import NAME, read_manifest
    from btnet.serving.crops import fit_crops
    from btnet.serving.loading import load_model
    from btnet.serving.selection import DEFAULT_STRATEGY, selected_sizes
    from btnet_lab.native_test.camera import ENOUGH_FACES, LEAST_FACES, adapted_statistics

    refuse_existing(args.output / NAME, overwrite=args.overwrite)
    loaded = load_model(args.model)
    model = loaded.module
    if not isinstance(model, BTNet):
        raise ValueError(f"{args.model}: has no branches to adapt; the trunk must not change")
    crops, status = _read(args.faces)
    if args.resolution is None:
        chosen, measured = selected_sizes(loaded, crops, DEFAULT_STRATEGY), model.resolutions
    else:
        chosen, measured = np.full(len(crops), args.resolution), (args.resolution,)
    adapted = []
    for resolution in measured:
        mine = [crops[row] for row in np.flatnonzero(chosen == resolution)]
        if args.resolution is None and len(mine) < LEAST_FACES:
            show(f"{resolution} px: {len(mine)} faces, too few ({LEAST_FACES} at least): stays as it is")
            continue
        views = fit_crops(mine, resolution, model.interpolation)
        statistics = adapted_statistics(
            model, resolution, views, prior=args.prior, batch_size=args.batch_size
        )
        model.load_bn_set(resolution, model.bn_set(resolution) | statistics)
        adapted.append(resolution)
        show(f"{resolution} px: statistics of {len(mine)} faces")
        if len(mine) < ENOUGH_FACES:
            show(
                f"btnet: warning: {len(mine)} faces for {resolution} px; fewer than {ENOUGH_FACES} may do harm: "
                "collect more, or trust the branch's own statistics with --prior",
                error=True,
            )
    if not adapted:
        raise ValueError(
            f"{args.faces}: {len(crops)} faces, and for no branch {LEAST_FACES}; collect more of this camera, or name "
            "a branch with --resolution"
        )
    manifest = read_manifest(args.model)
    model.save(args.output, **{key: manifest[key] for key in ("role", "config") if key in manifest})
    show(f"{args.output}: {args.model} with this camera's statistics at {', '.join(map(str, adapted))} px")
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
