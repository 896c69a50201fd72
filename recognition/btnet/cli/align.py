"""Detect and align the faces of a folder of photographs, or measure which sizes a detector finds."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from btnet.cli import options
from btnet.cli.images import LEFT_OUT
from btnet.console import show, show_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet align`."""
    parser.add_argument(
        "folder", nargs="?", type=Path, metavar="FOLDER", help="photographs or crops, with subfolders or not"
    )
    options.add_output(parser, "ALIGNED", "folder to write", required=False)
    options.add_overwrite(parser)
    parser.add_argument(
        "--detector",
        metavar="SOURCE",
        help="insightface pack (buffalo_l), its folder, an .onnx file (SCRFD, YuNet, CenterFace), or `centerface` "
        "(default: an insightface pack where there is one, else the CenterFace of btnet[detect])",
    )
    parser.add_argument(
        "--upscale",
        type=float,
        default=1.0,
        help="enlarge the image for the detector alone: 2 finds faces half as large, in four times the time "
        "(default: %(default)s)",
    )
    parser.add_argument("--min-score", type=float, default=0.35, help="0 to 1 (default: %(default)s)")
    parser.add_argument(
        "--min-size",
        type=float,
        default=40,
        metavar="PX",
        help="leave out smaller faces (default: %(default)s)",
    )
    parser.add_argument(
        "--max-residual",
        type=float,
        default=8.0,
        metavar="PX",
        help="leave out faces whose landmarks miss the template by more px of 112 (default: %(default)s)",
    )
    parser.add_argument(
        "--all", action="store_true", help="take every face of an image, not the largest alone"
    )
    parser.add_argument(
        "--size", type=int, default=112, help="side of the aligned faces, px (default: %(default)s)"
    )
    parser.add_argument("--png", action="store_true", help="write PNG (default: JPEG of quality 95)")
    parser.add_argument(
        "--recall",
        action="store_true",
        help="write nothing; paste the folder's faces (without one: rendered ones) into frames of 640 x 480 px, and "
        "report which share is found by size, with and without --upscale",
    )


def run(args: argparse.Namespace) -> int:
    """Align, or measure; 3 if images were left out."""
    from btnet.detection.align_folder import align_folder, beside
    from btnet.detection.detector import open_detector

    if args.recall:
        return _report_recall(args)
    if args.folder is None or args.output is None:
        raise ValueError("align: name a folder of photographs, and the folder to write with --output ALIGNED")
    if args.size < 7:
        raise ValueError(f"--size is {args.size} px, expected 7 at least")
    detector = open_detector(args.detector, min_score=args.min_score, upscale=args.upscale)
    done = align_folder(
        args.folder,
        args.output,
        detector,
        size=args.size,
        min_size=args.min_size,
        max_residual=args.max_residual,
        every_face=args.all,
        png=args.png,
        overwrite=args.overwrite,
    )
    show(
        f"{args.output}: {len(done.faces)} faces (median {np.median(done.sizes):.0f} px in their images, "
        f"landmarks {np.median(done.residuals):.1f} px from the template), found by {detector.name}; "
        f"look at {beside(args.output, 'contact_sheet.jpg')}"
    )
    if not done.left_out:
        return 0
    reason = Counter(reason.split(",")[0] for reason in done.left_out.values()).most_common(1)[0][0]
    show(
        f"btnet: {len(done.left_out)} images left out, most often: {reason}; see "
        f"{beside(args.output, 'left_out.tsv')}",
        error=True,
    )
    return LEFT_OUT


def _report_recall(args: argparse.Namespace) -> int:
    from btnet.detection.detector import open_detector
    from btnet.detection.recall import load_portraits, measure_recall, rendered_portraits, smallest_found

    detectors = [
        open_detector(args.detector, min_score=args.min_score, upscale=upscale)
        for upscale in sorted({1.0, 2.0, args.upscale})
    ]
    portraits = load_portraits(args.folder, detectors[0]) if args.folder else rendered_portraits()
    measured = [measure_recall(portraits, detector) for detector in detectors]
    table = [
        [
            str(row[0].size),
            *(f"{value:.{digits}f}" for r in row for value, digits in zip(r[1:], (2, 2, 0), strict=True)),
        ]
        for row in zip(*measured, strict=True)
    ]
    show_table(
        f"{detectors[0].name}: {len(portraits)} faces in frames of 640 x 480 px; false: detections a frame that are "
        "no face",
        ["px", *(f"{what} x{d.upscale:g}" for d in detectors for what in ("recall", "false", "ms"))],
        table,
        text=(),
    )
    for detector, rows in zip(detectors, measured, strict=True):
        smallest = smallest_found(rows)
        if smallest != rows[0].size:
            below = f"under {smallest} px" if smallest else "of every size measured"
            show(f"btnet: with --upscale {detector.upscale:g} most faces {below} are missed", error=True)
    return 0
