"""Write trunk and branches as checkpoints of arcface_torch: the same command as `btnet export-checkpoint`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["export-checkpoint", *sys.argv[1:]]))
