"""Write a package for insightface 2.x: the same command as `btnet export-insightface`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["export-insightface", *sys.argv[1:]]))
