"""Keys of earlier versions: what was measured of them, and what to use instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple


class Removed(NamedTuple):
    """The value of a key where it was not used, what was measured against phi_bt without it, and what to use."""

    off: Any
    measured: str
    instead: str


_AT: Final = "points at 112&14 and 14&14"
_COSINE: Final = "leave it out; of such losses embedding_cosine_weight stays"
_INNER: Final = "leave it out; inner_size with shared_jitter helps, at 7 px"
_NORMS: Final = "leave it out; each branch has BatchNorms of its own"
_MAPS: Final = "leave it out; distillation_weight compares the maps themselves"
_FIXED: Final = "leave it out; distillation_weight stays as it is set"
REMOVED: Final[Mapping[str, Removed]] = {
    "adapter_rank": Removed(0, f"-0.5 and -0.1 {_AT}, within chance", _INNER),
    "shared_tail_norms": Removed(False, "worse at all six pairs, by 0.1 to 1.7 points", _NORMS),
    "averaging": Removed("", f"-0.2 to +0.2 {_AT}, within chance", _INNER),
    "embedding_relation_weight": Removed(0.0, f"-0.6 and 0.0 {_AT}, within chance", _COSINE),
    "embedding_contrast_weight": Removed(0.0, f"-0.1 and +0.5 {_AT}, within chance", _COSINE),
    "embedding_octuplet_weight": Removed(0.0, f"-1.5 and -1.5 {_AT}, more than chance", _COSINE),
    "feature_attention_weight": Removed(0.0, f"0.0 and -0.4 {_AT}, within chance", _MAPS),
    "soft_influence_weight": Removed(0.0, f"-0.2 and 0.0 {_AT}, within chance", _COSINE),
    "distillation_weight_end": Removed(None, f"+0.3 and +0.1 {_AT}, within chance", _FIXED),
}
"""docs/beyond.md has the whole of what was measured."""


def refuse_removed(values: Mapping[str, Any], where: str, *, off_too: bool = False) -> None:
    """Refuse what earlier versions wrote and this one cannot do.

    Args:
        values: by key, of a configuration, a checkpoint or a manifest.
        where: they stand, for the message.
        off_too: whether a key of `REMOVED` is refused even with the value that never did anything.

    Raises:
        ValueError: naming what was measured of the first such key, what to use instead, and the others.
    """
    gone = [key for key, value in values.items() if key in REMOVED and (off_too or value != REMOVED[key].off)]
    if gone:
        first = REMOVED[gone[0]]
        others = f" (so were {', '.join(gone[1:])})" if gone[1:] else ""
        raise ValueError(f"{where}: {gone[0]} was removed ({first.measured}); {first.instead}{others}")
