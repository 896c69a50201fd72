"""Verify native faces under every selection strategy: the same command as `btnet native-test`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["native-test", *sys.argv[1:]]))
