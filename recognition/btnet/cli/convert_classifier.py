"""Convert classifier shards of arcface_torch or the authors to classifier.safetensors, or back."""

from __future__ import annotations

import argparse
from pathlib import Path

from torch import Tensor

from btnet.backbones.trunk_file import MODEL, load_trunk
from btnet.cli import options
from btnet.console import show
from btnet.data.faces import open_faces
from btnet.files.atomic import refuse_existing
from btnet.interop.arcface_torch import merge_classifier_shards, write_classifier_shards
from btnet.loss import load_classifier
from btnet.loss.classifier_file import classifier_file
from btnet.training.classifiers import write_classifier


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet convert-classifier`."""
    parser.add_argument(
        "source",
        type=Path,
        metavar="SOURCE",
        help="folder of checkpoint_gpu_*.pt, rank_*_softmax_weight.pt, softmax_fc_gpu_*.pt; or classifier.safetensors",
    )
    options.add_output(parser, "PATH", "X.safetensors; with --ranks a folder")
    options.add_overwrite(parser)
    parser.add_argument(
        "--ranks",
        type=int,
        metavar="N",
        help="write checkpoint_gpu_*.pt for N ranks of arcface_torch instead",
    )
    options.add_faces(parser, "the shards' training set, which names the classes")
    parser.add_argument(
        "--trunk", metavar="TRUNK", help="the shards' trunk (default: model.pt in the source folder)"
    )


def run(args: argparse.Namespace) -> None:
    """Convert, either way."""
    source: Path = args.source
    if args.ranks is not None:
        weight = _centres(source)
        paths = write_classifier_shards(weight, args.output, world_size=args.ranks, overwrite=args.overwrite)
        show(f"{args.output}: {len(weight)} classes in {len(paths)} files")
        return
    if source.suffix == ".safetensors":
        raise ValueError(
            f"{source}: is a classifier.safetensors already; give --ranks N to make shards of it"
        )
    if args.faces is None:
        raise ValueError("shards do not name their classes; give the set they were trained on with --faces")
    refuse_existing(args.output, overwrite=args.overwrite)
    trunk = load_trunk(args.trunk or source / MODEL)
    faces = open_faces(args.faces)
    weight = merge_classifier_shards(source, num_classes=faces.num_classes)
    if weight.shape[1] != trunk.embedding_size:
        raise ValueError(
            f"{source}: centres of {weight.shape[1]} values, and the trunk's embeddings have "
            f"{trunk.embedding_size}; name the trunk of the same run with --trunk"
        )
    write_classifier(args.output, weight, faces, trunk)
    show(f"{args.output}: {len(weight)} classes of {weight.shape[1]} values")


def _centres(source: Path) -> Tensor:
    """From a file of ours, or from shards of another number of ranks."""
    if source.suffix == ".safetensors" or classifier_file(source).is_file():
        return load_classifier(source).weight
    return merge_classifier_shards(source)
