"""Verify native faces under every selection strategy: the same command as `btnet-lab native-test`."""

import sys

from btnet_lab.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["native-test", *sys.argv[1:]]))
