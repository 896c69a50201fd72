"""Evaluate on IJB-C or IJB-B: the same command as `btnet ijbc`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["ijbc", *sys.argv[1:]]))
