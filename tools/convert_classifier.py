"""Classifiers of arcface_torch to and fro: the same command as `btnet convert-classifier`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["convert-classifier", *sys.argv[1:]]))
