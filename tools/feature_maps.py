"""What each model's stages see (fig. 10): the same as `btnet-lab analyse feature-maps`."""

import sys

from btnet_lab.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["analyse", "feature-maps", *sys.argv[1:]]))
