"""Adapt branches to a camera: the same command as `btnet adapt-camera`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["adapt-camera", *sys.argv[1:]]))
