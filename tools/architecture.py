"""Units, strides and what is learnt (fig. 9): the same as `btnet-lab analyse architecture`."""

import sys

from btnet_lab.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["analyse", "architecture", *sys.argv[1:]]))
