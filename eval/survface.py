"""Evaluate on QMUL-SurvFace: the same command as `btnet survface`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["survface", *sys.argv[1:]]))
