"""Index tar shards of faces (WebDataset's layout), so that training reads them at random, remote ones too."""

import argparse
from pathlib import Path

from btnet.cli.left_out import tell_left_out
from btnet.console import show, tracked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `btnet index-shards`."""
    parser.add_argument(
        "shards", nargs="+", metavar="SHARD.tar", help="paths or urls; images keep this order"
    )
    parser.add_argument(
        "--output", "-o", type=Path, required=True, metavar="X.json", help="index to write, X.npy beside it"
    )
    parser.add_argument(
        "--url",
        default="",
        help="where training fetches the shards: https://HOST/FOLDER, s3://BUCKET/FOLDER ...",
    )


def run(args: argparse.Namespace) -> int:
    """Index.

    Returns:
        0, or 3 if the shards hold images that were not taken.

    Raises:
        FileNotFoundError, ValueError: as `btnet.data.shard_index.write_index`.
    """
    from btnet.data.found_images import FoundImages
    from btnet.data.shard_index import write_index

    shards = tracked(args.shards, "indexing", len(args.shards))
    left_out = FoundImages(args.output)
    num_images, num_classes = write_index(args.output, shards, url=args.url, left_out=left_out)
    show(f"{args.output}: {num_images} images of {num_classes} identities in {len(args.shards)} shards")
    return tell_left_out(left_out)
