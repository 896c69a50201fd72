"""Memory of a classifier per rank: the same command as `btnet head-memory`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["head-memory", *sys.argv[1:]]))
