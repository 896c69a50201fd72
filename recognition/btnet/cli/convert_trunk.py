"""Convert a checkpoint of AdaFace, CVLface, TFace or face.evoLVe, or a wrapped one, to a trunk."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from btnet.backbones.trunk_file import load_trunk
from btnet.backbones.unmeasured import unmeasured_norms
from btnet.cli.trunk_output import add_trunk_options, labelled_of, refuse_output, show_judged, write_trunk
from btnet.console import show
from btnet.data.pairs import sample_faces
from btnet.interop.conventions import Convention, judge, told
from btnet.interop.restored_norms import restore_norms


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet convert-trunk`."""
    parser.add_argument(
        "checkpoint",
        type=Path,
        metavar="CHECKPOINT",
        help=".ckpt, .pt, .pth or .safetensors file, or a folder with one",
    )
    add_trunk_options(parser, "measure BatchNorms that the network has not")


def run(args: argparse.Namespace) -> None:
    """Write a state dict in arcface_torch's keys."""
    refuse_output(args)
    trunk = load_trunk(args.checkpoint, colour_order=args.colour_order)
    size = trunk.canonical_size
    judged, verdict = [], ""
    labelled = labelled_of(args, size)
    if labelled is not None:
        order = trunk.origin.get("colour_order", "RGB")

        def embed(images: Tensor) -> NDArray[np.float32]:
            # As the checkpoint took them: the trunk takes RGB.
            batches = torch.split(images.flip(1) if order == "BGR" else images, 32)
            with torch.no_grad():
                return np.concatenate([trunk(batch).numpy() for batch in batches])

        stated, other = (
            Convention(each, 127.5, 127.5) for each in (order, "RGB" if order == "BGR" else "BGR")
        )
        judged = judge(embed, labelled, stated, [other])
        verdict = told(judged, str(args.checkpoint))
    names = unmeasured_norms(trunk)
    if names and args.faces is not None:
        restore_norms(trunk, names, sample_faces(args.faces, args.num_faces, size=size, canonical_size=size))
    write_trunk(args, trunk)
    if names and args.faces is None:
        with torch.device("meta"):
            of_a_branch = dict(trunk.rebuild(size // 2).named_modules())
        needed = sum(name in of_a_branch for name in names)
        before = "branches train" if needed else "the trunk itself trains on"
        show(
            f"{needed or len(names)} BatchNorms have no statistics: before {before}, convert again with --faces SET"
        )
    elif names:
        show(
            f"{len(names)} BatchNorms that the network had not, measured on faces; its embeddings stay what they are"
        )
    show_judged(judged, verdict)
