"""The card has every number that the package has, and claims no more."""

from __future__ import annotations

from typing import Any

from btnet.calibration.calibration import Calibration
from btnet.calibration.thresholds import Threshold
from btnet.retrofit.card import model_card

CURVE = [
    {"size": 7, "network": "branch r7", "accuracy": 0.8123, "trunk_accuracy": 0.541, "verdict": "better"},
    {
        "size": 40,
        "network": "trunk",
        "accuracy": 0.98,
        "trunk_accuracy": 0.98,
        "verdict": "not shown to be better",
    },
]
FACTS = {
    "faces": "staff", "num_faces": 4321, "num_passes": 9, "num_held_out": 432, "has_identities": False,
    "licences": {"trunk": "", "faces": "CC0"}, "branches": {"7": "better"}, "curve": CURVE,
}  # fmt: skip
THRESHOLDS = (
    Threshold((7, 112), 0.01, 90000, 500, 0.4321, (0.41, 0.45), 0.777),
    Threshold((7, 112), 0.0001, 90000, 500),
    Threshold((7, 7), 0.01, 90000, 500, 0.5678, (0.55, 0.58), 0.6),
)


def card(calibration: Calibration | None, **facts: Any) -> str:
    return model_card({"role": "cameras", "resolutions": [7], "retrofit": FACTS | facts}, calibration)


def test_the_card_has_the_curve_the_training_and_the_licences() -> None:
    text = card(None)
    assert text.startswith('---\nlibrary_name: "btnet"\n')
    for told in ("| 7 px | branch r7 | 81.2 | 54.1 | better |", "4321 faces of `staff`, 9 passes", "432 faces",
                 "agreement, not accuracy", "trunk: not stated", "faces: CC0", "No liveness check"):  # fmt: skip
        assert told in text
    assert "| 40 px | trunk | 98.0 | 98.0 | not shown to be better |" in text


def test_verdicts_are_claimed_as_far_as_they_were_measured() -> None:
    assert "gives no verdict until `btnet calibrate" in card(None)
    faces = {"name": "x", "fingerprint": "f", "num_faces": 600, "num_people": 80, "small": "shrunk"}
    text = card(Calibration({}, {}, faces, THRESHOLDS), has_identities=True)
    assert "600 faces of 80 people (shrunk)" in text
    assert "| 112&7 px | 0.01 | 0.432 | 0.410 to 0.450 | 77.7 |" in text
    assert "| 112&7 px | 0.0001 | not measurable | - | - |" in text
    assert "0.568" not in text  # of two small faces: in calibration.json
    text = card(Calibration({}, {}, {**faces, "num_people": None}, THRESHOLDS))
    assert "no false match rate is claimed" in text
