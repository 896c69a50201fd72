"""Measure where a model decides: thresholds by size of face, at stated false match rates."""

from __future__ import annotations

import argparse
from pathlib import Path

from btnet.cli import options
from btnet.console import progress_bar, show, show_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet calibrate`."""
    parser.add_argument("model", type=Path, metavar="MODEL", help="model folder; gets a calibration.json")
    parser.add_argument(
        "faces",
        metavar="FACES",
        help="X.rec or identity folders, of people it was not trained on: aligned faces, or crops as photographed",
    )
    options.add_device(parser)


def run(args: argparse.Namespace) -> None:
    """Calibrate, and print what verdicts on a gallery at the canonical size will rest on.

    Raises:
        ValueError: for the faces that the model was trained on, or too few people.
    """
    from btnet.data.faces import open_faces
    from btnet.model_folder.manifest import read_manifest
    from btnet.serving.calibrating import anchor_sizes, calibrate
    from btnet.serving.recognizer import Recognizer

    trained_on = read_manifest(args.model).get("data_fingerprint")
    faces = open_faces(args.faces, native_crops=True)
    if faces.fingerprint() == trained_on:
        raise ValueError(f"{args.faces}: the model was trained on these faces; give other people's")
    recognizer = Recognizer.load(args.model, device=args.device)
    with progress_bar("sizes", len(anchor_sizes(recognizer.resolutions))) as progress:
        found = calibrate(recognizer, faces, Path(args.faces).name, progress=progress)
    found.save(args.model)
    rows = [
        [f"{each.sizes[0]} px", f"{each.fmr:g}", *each.cells]
        for each in found.thresholds
        if each.sizes[1] == recognizer.resolutions[0]
    ]
    columns = ["probe", "false match rate", "threshold", "95 % interval", "TAR, %"]
    show_table(f"Gallery at {recognizer.resolutions[0]} px", columns, rows)
    show(f"{found.faces['num_faces']} faces of {found.faces['num_people']} people, {found.faces['small']}")
