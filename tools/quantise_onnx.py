"""Quantise an ONNX file to int8: the same command as `btnet quantise-onnx`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["quantise-onnx", *sys.argv[1:]]))
