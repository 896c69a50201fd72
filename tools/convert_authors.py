"""Turn the BTNet authors' files into trunk and overlays, or back: the same command as `btnet convert-authors`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["convert-authors", *sys.argv[1:]]))
