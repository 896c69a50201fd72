"""Faces and feature maps of equal resolution (fig. 3): the same as `btnet analyse pyramids`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["analyse", "pyramids", *sys.argv[1:]]))
