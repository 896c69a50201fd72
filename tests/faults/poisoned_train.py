"""`train.py`, in which one rank's batch of one step is NaN: rank and step are told by the environment."""

import os
import sys

from torch import Tensor

from btnet.cli import main
from btnet.data.views import normalise
from btnet.training import step

_calls = 0


def _poisoned(images: Tensor) -> Tensor:
    global _calls
    _calls += 1
    here = os.environ["RANK"] == os.environ["POISONED_RANK"] and _calls == int(os.environ["POISONED_STEP"])
    return normalise(images) * (float("nan") if here else 1.0)


if __name__ == "__main__":
    vars(step)["normalise"] = _poisoned
    sys.exit(main(["train", *sys.argv[1:]]))
