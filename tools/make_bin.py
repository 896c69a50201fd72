"""Write a .bin verification set: the same command as `btnet make-bin`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["make-bin", *sys.argv[1:]]))
