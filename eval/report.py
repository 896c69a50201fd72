"""One page of results: the same command as `btnet-lab report`."""

import sys

from btnet_lab.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["report", *sys.argv[1:]]))
