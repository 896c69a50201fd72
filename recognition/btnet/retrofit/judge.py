"""The branches, judged as they will be served: each against the enlarged trunk, on held-out faces."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from btnet.console import progress_bar
from btnet.evaluation.served import ServedPoint
from btnet.method.btnet import BTNet
from btnet.serving.face_model import FaceModel
from btnet.serving.served import served_curve

__all__ = ["SIZES", "Judged", "judge"]

SIZES: Final = (6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40)


class Judged(NamedTuple):
    """What held-out faces say: the served curve, and a verdict for each branch."""

    curve: list[ServedPoint]
    branches: dict[int, str]


def judge(model: BTNet, images: NDArray[np.uint8], people: NDArray[np.int64] | None) -> Judged:
    """Draw the served curve, and judge every branch by the sizes it serves: better or worse at more of them.

    Args:
        model: on its device.
        images: held out, aligned, uint8 RGB [N, 112, 112, 3].
        people: who they show, [N]; None where nobody says: see `served_curve`.

    Raises:
        ValueError: as `served_curve`.
    """
    served = FaceModel.of(model)
    with progress_bar("judging", len(images) * (1 + 2 * len(SIZES))) as progress:
        curve = served_curve(served, images, people, SIZES, progress=progress)
    branches = {}
    for r in model.resolutions:
        verdicts = [point.verdict for point in curve if served.choose(point.size) == r]
        balance = verdicts.count("better") - verdicts.count("worse")
        branches[r] = "better" if balance > 0 else "worse" if balance < 0 else "not shown to be better"
    return Judged(curve, branches)
