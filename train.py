"""Train as a config says: `python train.py configs/NAME`, or `torchrun --nproc_per_node=N train.py configs/NAME`."""

import sys

from btnet.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
