"""Error of down- and up-sampling (beside fig. 1): the same as `btnet-lab analyse down-up-error`."""

import sys

from btnet_lab.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["analyse", "down-up-error", *sys.argv[1:]]))
