"""Fit the learnt selector: which branch embeds a face, by the detail it holds instead of its pixels."""

from __future__ import annotations

import argparse

from btnet.cli import options
from btnet.console import progress_bar, show
from btnet.files.atomic import refuse_existing
from btnet_lab.cli.native_test import add_conditions, conditions_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet-lab fit-selector`."""
    parser.add_argument(
        "model",
        nargs="?",
        help="run folder whose branches are chosen among; without one each takes faces up to its own size",
    )
    options.add_faces(parser, "aligned 112 px faces of training people", 2000, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of all draws (default: %(default)s)")
    add_conditions(parser)
    options.add_output(parser, "X.json")
    options.add_overwrite(parser)
    options.add_interpolation(parser, None, "the model's own")
    options.add_batch_size(parser)
    options.add_device(parser)


def run(args: argparse.Namespace) -> None:
    """Photograph faces, fit, write."""
    import numpy as np

    from btnet.data.faces import open_faces
    from btnet.data.pairs import stack_faces
    from btnet.serving.loading import load_model
    from btnet.training.distributed import distributed_context
    from btnet_lab.native_test.selector_fit import fit_selector

    refuse_existing(args.output, overwrite=args.overwrite)
    conditions = conditions_of(args)
    faces = open_faces(args.faces)
    model = None if args.model is None else load_model(args.model)
    drawn = np.random.default_rng(args.seed).permutation(len(faces))[: args.num_faces]
    images = stack_faces(faces, np.sort(drawn))
    passes = 1 if model is None else 2 + len(model.resolutions)
    with (
        distributed_context(args.device or "") as context,
        progress_bar("fitting", len(images) * passes) as progress,
    ):
        if model is not None:
            model.to(context.device)
        selector = fit_selector(
            images,
            model,
            conditions=conditions,
            seed=args.seed,
            interpolation=args.interpolation or (model and model.interpolation) or "bilinear",
            batch_size=args.batch_size,
            progress=progress,
        )
    selector.save(args.output)
    cuts = (
        ", ".join(f"{r} px up to {cut:.1f}" for r, cut in selector.cuts.items()) or "each up to its own size"
    )
    show(f"{args.output}: from {len(images)} faces; optical px taken to a branch: {cuts}")
