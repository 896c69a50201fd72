"""`train.py`, in which one rank's batch of one step is NaN: rank and step are told by the environment."""

import os
import sys

from torch import Tensor

from btnet.cli import main
from btnet.training import step

_normalise, _calls = step.normalise, 0


def _poisoned(images: Tensor) -> Tensor:
    global _calls
    _calls += 1
    here = os.environ["RANK"] == os.environ["POISONED_RANK"] and _calls == int(os.environ["POISONED_STEP"])
    return _normalise(images) * (float("nan") if here else 1.0)


if __name__ == "__main__":
    step.normalise = _poisoned  # type: ignore[assignment]
    sys.exit(main(["train", *sys.argv[1:]]))
