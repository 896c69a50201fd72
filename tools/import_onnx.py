"""Make a trunk of a recognition ONNX file: the same command as `btnet import-onnx`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["import-onnx", *sys.argv[1:]]))
