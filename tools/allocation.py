"""Accuracy against where the tail starts (fig. 7): the same as `btnet-lab analyse allocation`."""

import sys

from btnet_lab.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["analyse", "allocation", *sys.argv[1:]]))
