"""Evaluate on TinyFace: the same command as `btnet tinyface`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["tinyface", *sys.argv[1:]]))
