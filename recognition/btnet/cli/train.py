"""Train a trunk, or branches for a pretrained trunk, as a config says."""

import argparse

from btnet.console import show
from btnet.training.config_file import load_config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet train`."""
    parser.add_argument(
        "config", metavar="CONFIG", help="a name that `btnet configs` lists, or a path; with or without .py"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides",
        help="override a key of the config; repeat it for more",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Train; 1 where the model is written and its last verification failed."""
    config = load_config(args.config, args.overrides)
    # torch.distributed's checkpoints and TensorBoard take seconds to import: a typing error need not wait.
    from btnet.training.run import train
    from btnet.training.verification import VerificationError

    try:
        train(config)
    except VerificationError as error:
        show(f"btnet: {error}", error=True)
        return 1
    return 0
