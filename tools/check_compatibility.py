"""Check that a new model may probe an old model's gallery: the same command as `btnet check-compatibility`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["check-compatibility", *sys.argv[1:]]))
