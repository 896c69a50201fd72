"""Which branch each face size goes to (fig. 8): the same as `btnet-lab analyse selection-map`."""

import sys

from btnet_lab.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["analyse", "selection-map", *sys.argv[1:]]))
