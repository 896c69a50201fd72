"""Write the networks of a model as ONNX files: the same command as `btnet export-onnx`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["export-onnx", *sys.argv[1:]]))
