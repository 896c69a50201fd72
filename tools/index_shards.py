"""Index tar shards of faces for training: the same command as `btnet index-shards`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["index-shards", *sys.argv[1:]]))
