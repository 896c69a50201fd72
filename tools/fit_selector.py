"""Fit the learnt selector: the same command as `btnet-lab fit-selector`."""

import sys

from btnet_lab.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["fit-selector", *sys.argv[1:]]))
