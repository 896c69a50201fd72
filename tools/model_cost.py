"""What each resolution costs: the same command as `btnet-lab model-cost`."""

import sys

from btnet_lab.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["model-cost", *sys.argv[1:]]))
