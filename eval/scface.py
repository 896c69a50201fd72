"""Evaluate on SCFace: the same command as `btnet scface`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["scface", *sys.argv[1:]]))
