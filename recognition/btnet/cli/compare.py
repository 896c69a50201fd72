"""Compare two faces of any sizes: the same person, different people, or too small to tell."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from btnet.cli import options
from btnet.console import show
from btnet.serving.face_images import read_crop


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet compare`."""
    parser.add_argument("images", nargs=2, type=Path, metavar="IMAGE", help="face crop of any size")
    options.add_json(parser)
    options.add_recognizer(parser)


def run(args: argparse.Namespace) -> None:
    """Print the verdict of a calibrated model, the cosine, and at which resolution each face was embedded."""
    from btnet.evaluation.cosine import unit_normalise

    crops = [read_crop(path) for path in args.images]
    recognizer = options.load_recognizer(args)
    first, second = unit_normalise(recognizer.embed(crops))
    cosine = float(first @ second)
    faces = [
        {"image": str(path), "width": crop.shape[1], "height": crop.shape[0], "resolution": chosen}
        for path, crop, chosen in zip(args.images, crops, recognizer.choose(crops).tolist(), strict=True)
    ]
    stored = recognizer.calibration
    verdict = (
        recognizer.compare(*crops) if stored is not None and stored.serving == recognizer.serving else None
    )
    if args.json:
        told = None if verdict is None else {"answer": verdict.answer, **asdict(verdict)}
        options.print_json({"cosine": cosine, "faces": faces, "verdict": told})
        return
    for face in faces:
        show(f"{face['image']}: {face['width']} x {face['height']} px, embedded at {face['resolution']} px")
    show(f"cosine {cosine:.4f}")
    without = "no verdict: measure thresholds for these options with `btnet calibrate MODEL FACES`"
    show(without if verdict is None else str(verdict))
