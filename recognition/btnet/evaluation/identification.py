"""1:N identification: all scorers by name. Arrays in, numbers out; cosine similarity; ties count against the model."""

from btnet.evaluation.closed_set import ClosedSetResult, closed_set
from btnet.evaluation.ijb_1n import Ijb1NResult, ijb_1n, ijb_1n_standard
from btnet.evaluation.open_set import OpenSetResult, open_set, open_set_survface

__all__ = [
    "ClosedSetResult",
    "Ijb1NResult",
    "OpenSetResult",
    "closed_set",
    "ijb_1n",
    "ijb_1n_standard",
    "open_set",
    "open_set_survface",
]
