"""Upper bound of the error of enlarging a face (fig. 1): the same as `btnet-lab analyse upsampling-error`."""

import sys

from btnet_lab.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["analyse", "upsampling-error", *sys.argv[1:]]))
