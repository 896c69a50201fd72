"""Index tar shards of faces (WebDataset's layout), so that training reads them at random, remote ones too."""

import argparse

from btnet.cli import options
from btnet.cli.images import tell_left_out
from btnet.console import show, tracked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet index-shards`."""
    parser.add_argument(
        "shards", nargs="+", metavar="SHARD.tar", help="paths or URLs; images keep this order"
    )
    options.add_output(parser, "X.json", "index to write, X.npy beside it")
    parser.add_argument(
        "--url",
        default="",
        help="training fetches the shards here: https://HOST/FOLDER, s3://BUCKET/FOLDER ...",
    )


def run(args: argparse.Namespace) -> int:
    """Index; 3 if the shards hold images that were not taken."""
    from btnet.data.found_images import FoundImages
    from btnet.data.shard_index import write_index

    shards = tracked(args.shards, "indexing", len(args.shards))
    left_out = FoundImages(args.output)
    num_images, num_classes = write_index(args.output, shards, url=args.url, left_out=left_out)
    show(f"{args.output}: {num_images} images of {num_classes} identities in {len(args.shards)} shards")
    return tell_left_out(left_out)
