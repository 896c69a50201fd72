"""An old classifier for a trunk without one: the same command as `btnet build-classifier`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["build-classifier", *sys.argv[1:]]))
