"""Pack faces into an InsightFace .rec training set: the same command as `btnet make-rec`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["make-rec", *sys.argv[1:]]))
