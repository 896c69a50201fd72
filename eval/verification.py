"""Verify models on sets of pairs: the same command as `btnet evaluate`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["evaluate", *sys.argv[1:]]))
