"""Write one network of a model as a package that insightface 2.x loads, at any input size: the same command as `btnet export-insightface`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["export-insightface", *sys.argv[1:]]))
