"""Configurations of arcface_torch as ours: each of its keys is taken over, or named as without effect, or refused."""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, Final

__all__ = ["BASE", "from_arcface_torch"]

_logger = logging.getLogger(__name__)

BASE: Final[Mapping[str, Any]] = {
    "margin_list": (1.0, 0.5, 0.0),
    "network": "r50",
    "resume": False,
    "output": None,
    "embedding_size": 512,
    "sample_rate": 1,
    "interclass_filtering_threshold": 0,
    "fp16": False,
    "batch_size": 128,
    "optimizer": "sgd",
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "verbose": 2000,
    "frequent": 10,
    "gradient_acc": 1,
    "seed": 2048,
    "num_workers": 2,
}
"""What its `configs/base.py` sets, where a configuration lies without one beside it."""

_SAME: Final = (
    "network", "embedding_size", "batch_size", "lr", "momentum", "weight_decay", "num_epoch", "warmup_epoch",
    "verbose", "frequent", "seed", "num_workers", "resume", "sample_rate", "interclass_filtering_threshold",
    "val_targets",
)  # fmt: skip
_ITS_OWN: Final = ("margin_list", "num_image", "num_classes", "fp16")  # no configuration of ours has one
_USED: Final = ("margin_list", "rec", "output", "fp16", "optimizer", "gradient_acc", "dali_aug")
# Other values than these would train another model.
_ONLY: Final[Mapping[str, tuple[Any, str]]] = {
    "optimizer": ("sgd", "btnet trains with SGD; train it with arcface_torch, or set optimizer='sgd'"),
    "gradient_acc": (1, "steps are not accumulated here; raise batch_size, or train on more ranks"),
    "dali_aug": (False, "DALI's augmentation is not here; set dali_aug=False"),
}


def from_arcface_torch(
    file: Path, values: Mapping[str, Any], beside: Mapping[str, Any], known: Container[str]
) -> dict[str, Any] | None:
    """What to set in a configuration of ours so that it trains the same trunk; the log says which keys have no effect.

    Args:
        file: of the configuration, for texts.
        values: that it sets.
        beside: those of the `base.py` in its folder; empty if there is none.
        known: our keys; those that it sets (`trunk`, `branches` ...) are taken as they are.

    Returns:
        Our keys; None if the configuration is none of arcface_torch's.

    Raises:
        ValueError: for a value that would train another model here, or a `margin_list` that its loss refuses.
    """
    base_is_theirs = any(key in beside for key in _ITS_OWN)
    if not (base_is_theirs or any(key in values for key in _ITS_OWN)):
        return None
    ours, unused = _translate({**BASE, **(beside if base_is_theirs else {}), **values}, str(file), known)
    _logger.warning("%s: of arcface_torch; without effect here: %s", file, ", ".join(unused) or "nothing")
    return ours


def _translate(
    values: Mapping[str, Any], where: str, known: Container[str]
) -> tuple[dict[str, Any], list[str]]:
    """Our keys; and those of arcface_torch's that have no effect here, sorted."""
    for key, (only, why) in _ONLY.items():
        if values.get(key, only) != only:
            raise ValueError(f"{where}: {key}={values[key]!r}: {why}")
    ours = {
        key: value for key, value in values.items() if key in _SAME or (key in known and key not in _USED)
    }
    for key in ("sample_rate", "interclass_filtering_threshold"):
        ours[key] = float(ours[key])
    ours["val_targets"] = list(values.get("val_targets", ()))
    ours |= _loss(values["margin_list"], where)
    ours["precision"] = "auto" if values["fp16"] else "fp32"
    ours["schedule"] = "arcface_torch"
    folder = Path(values.get("rec", ""))
    ours["rec"] = str(folder / "train.rec" if (folder / "train.rec").is_file() else folder)
    ours["output"] = values["output"] or ""
    return ours, sorted(set(values) - set(ours) - set(_USED))


def _loss(margin_list: Any, where: str) -> dict[str, Any]:
    """The margin that `CombinedMarginLoss(64, *margin_list)` computes; m1 and m2 count in an ArcFace alone."""
    try:
        m1, m2, m3 = map(float, margin_list)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{where}: margin_list={margin_list!r:.80}: expected three numbers (m1, m2, m3)"
        ) from error
    if m1 == 1.0 and m3 == 0.0:
        return {"loss": "ArcFaceStraightThrough", "margin": m2, "scale": 64.0}
    if m3 > 0:
        return {"loss": "CosFace", "margin": m3, "scale": 64.0}
    raise ValueError(
        f"{where}: margin_list={margin_list!r:.80}: expected (1, m, 0) for ArcFace or (1, 0, m) for CosFace"
    )
