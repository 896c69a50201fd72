"""Quantise an ONNX file to int8 with calibration faces, and measure what it costs on pairs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from btnet.cli import options
from btnet.console import show
from btnet.data.aligned import CANONICAL_SIZE
from btnet.data.bin_sets import read_bin
from btnet.data.pairs import sample_faces
from btnet.evaluation.cosine import unit_normalise
from btnet.evaluation.verification import kfold_accuracy
from btnet.files.atomic import refuse_existing
from btnet.images.resize import resize
from btnet.interop.onnx_int8 import embed_with_session, onnx_input_size, quantise_onnx
from btnet.serving.onnx_session import open_session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet quantise-onnx`."""
    parser.add_argument("model", type=Path, metavar="MODEL.onnx", help="float32 file of `btnet export-onnx`")
    parser.add_argument("faces", metavar="FACES", help=f"calibration: {options.FACES_HELP}")
    parser.add_argument(
        "--bin", type=Path, required=True, metavar="SET.bin", help="measure the cost on these pairs"
    )
    options.add_output(parser, "X.onnx", "file to write (default: MODEL_int8.onnx)", required=False)
    options.add_overwrite(parser)
    parser.add_argument(
        "--num-faces", type=int, default=256, metavar="N", help="use N of them (default: %(default)s)"
    )
    parser.add_argument(
        "--gallery",
        type=Path,
        metavar="X.onnx",
        help="float32 file for the first image of each pair, at its own size (default: both sides alike)",
    )


def run(args: argparse.Namespace) -> None:
    """Write the int8 file; print accuracies, cosines and sizes."""
    session = open_session(args.model)
    size = onnx_input_size(session, str(args.model))
    props = session.get_modelmeta().custom_metadata_map
    view, interpolation = int(props.get("resolution", size)), props.get("interpolation", "bilinear")
    target = args.output or args.model.with_name(f"{args.model.stem}_int8.onnx")
    refuse_existing(target, overwrite=args.overwrite)
    canonical_size = json.loads(props.get("arch", "{}")).get("canonical_size", CANONICAL_SIZE)
    images, issame = read_bin(args.bin, size=canonical_size)
    faces = sample_faces(
        args.faces, args.num_faces, size=size, canonical_size=canonical_size, interpolation=interpolation
    )
    if view != size:  # what the file will meet: faces of canonical size, which it shrinks itself
        images = np.stack([resize(image, size, interpolation) for image in images])
    quantise_onnx(args.model, target, faces)

    sides = {
        path: embed_with_session(open_session(path), images, interpolation) for path in (args.model, target)
    }
    first = None
    if args.gallery is not None:
        gallery = open_session(args.gallery)
        onnx_input_size(gallery, str(args.gallery))
        first = embed_with_session(gallery, images[::2], interpolation)
    for path, embeddings in sides.items():
        one = embeddings[::2] if first is None else first
        accuracy, std = kfold_accuracy(one, embeddings[1::2], issame)
        show(
            f"{path}: {path.stat().st_size / 1e6:.1f} MB, accuracy {100 * accuracy:.2f} +- {100 * std:.2f} %"
            f" on {len(issame)} pairs of {args.bin} at {view} px"
        )
    exact, quantised = (unit_normalise(embeddings) for embeddings in sides.values())
    cosine = (exact * quantised).sum(axis=1)
    show(f"cosine of int8 and float32 embeddings: mean {cosine.mean():.4f}, lowest {cosine.min():.4f}")
