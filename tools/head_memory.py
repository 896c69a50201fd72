"""Memory of a classifier per rank: the same command as `btnet-lab head-memory`."""

import sys

from btnet_lab.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["head-memory", *sys.argv[1:]]))
