from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from btnet.calibration.calibration import NAME, Calibration, Verdict, read_calibration
from btnet.calibration.thresholds import Threshold
from btnet.model_folder.manifest import write_manifest

NETWORKS = {"112": "trunk", "14": "branch"}


def threshold(sizes: tuple[int, int], fmr: float, value: float | None, tar: float = 0.9) -> Threshold:
    known = Threshold(sizes, fmr, 100_000, 500)
    return (
        known
        if value is None
        else replace(known, threshold=value, interval=(value - 0.01, value + 0.01), tar=tar)
    )


def calibration(num_people: int | None = 300) -> Calibration:
    thresholds = [
        threshold((14, 112), 1e-2, 0.30),
        replace(threshold((14, 112), 1e-3, 0.40, tar=0.3), fpir={100: 0.08, 200: 0.15}),
        threshold((14, 112), 1e-4, None),
        threshold((28, 112), 1e-2, 0.25),
        threshold((28, 112), 1e-3, 0.35),
        threshold((112, 112), 1e-2, 0.20),
        threshold((112, 112), 1e-3, None),
    ]
    faces = {
        "name": "faces.rec",
        "fingerprint": "abc",
        "num_faces": 600,
        "num_people": num_people,
        "small": "shrunk",
    }
    return Calibration(NETWORKS, {"rule": "ceil"}, faces, tuple(thresholds))


def test_a_score_is_judged_by_the_sizes_of_the_two_faces() -> None:
    found = calibration()
    assert found.verdict(0.41, (112, 28)) == Verdict(True, 0.41, 0.35, 1e-3, (112, 28), True)
    assert found.verdict(0.31, (28, 112)).answer == "different"
    assert found.verdict(0.41, (18, 112)).threshold == 0.40  # the higher of those of 14 and 28 px
    assert found.verdict(0.21, (200, 112)) == Verdict(True, 0.21, 0.20, 1e-2, (200, 112), True)
    assert found.verdict(0.31, (28, 112), fmr=1e-2).same


def test_too_small_to_tell_where_the_threshold_separates_too_few_or_is_not_measurable() -> None:
    found = calibration()
    assert found.verdict(0.35, (14, 112)).answer == "too small to tell"
    assert found.verdict(0.45, (14, 112)).answer == "same"
    assert found.verdict(0.9, (9, 112)).answer == "too small to tell"
    assert found.verdict(0.9, (14, 112), fmr=1e-4).answer == "too small to tell"
    with pytest.raises(ValueError, match=r"choose one of 0[.]01, 0[.]001, 0[.]0001"):
        found.verdict(0.9, (14, 112), fmr=0.05)


def test_without_identities_a_verdict_states_no_rate() -> None:
    verdict = calibration(num_people=None).verdict(0.41, (28, 112))
    assert (verdict.same, verdict.fmr, verdict.calibrated) == (True, None, False)
    assert "provisional" in str(verdict)


def test_a_search_has_the_rate_of_the_next_larger_gallery_or_a_bound() -> None:
    found = calibration()
    assert found.false_positive_rate((14, 112), 1e-3, 90) == (0.08, "measured")
    assert found.false_positive_rate((16, 112), 1e-3, 150) == (0.15, "measured")
    assert found.false_positive_rate((14, 112), 1e-3, 500) == (0.5, "bounded by N x FMR")
    assert found.false_positive_rate((14, 112), 1e-2, 5000) == (1.0, "bounded by N x FMR")


def test_the_file_comes_back_as_it_was_and_is_refused_for_another_model(tmp_path: Path) -> None:
    write_manifest(tmp_path, arch={}, trunk_fingerprint="t", resolutions=[14], interpolation="bilinear")
    assert read_calibration(tmp_path, NETWORKS) is None
    calibration().save(tmp_path)
    assert read_calibration(tmp_path, NETWORKS) == calibration()
    with pytest.raises(ValueError, match=r"another model.* 14 px"):
        read_calibration(tmp_path, {**NETWORKS, "14": "trained again"})
    replace(calibration(), networks={**NETWORKS, "7": "gone"}).save(tmp_path)
    with pytest.raises(ValueError, match=" 7 px"):
        read_calibration(tmp_path, NETWORKS)
    (tmp_path / NAME).write_text("{}")
    with pytest.raises(ValueError, match="not the file that"):
        read_calibration(tmp_path, NETWORKS)
