"""Faces and feature maps of equal resolution (fig. 3): the same as `btnet-lab analyse pyramids`."""

import sys

from btnet_lab.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["analyse", "pyramids", *sys.argv[1:]]))
