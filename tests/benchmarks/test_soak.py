"""A short soak of a tiny model; and that the soak would see wrong answers, a full queue's excess and growing memory."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import soak
from btnet.serving.face_model import FaceModel
from btnet.serving.recognizer import Recognizer
from tiny_models import tiny_btnet


class Mixed(Recognizer):
    """Gives the answers of a request in the wrong order."""

    wrong = False

    def embed(self, faces: Iterable[Any], **options: Any) -> NDArray[np.float32]:
        found = super().embed(faces, **options)
        return found[::-1] if self.wrong else found


@pytest.fixture
def recognizer(monkeypatch: pytest.MonkeyPatch) -> Mixed:
    monkeypatch.setattr(soak, "NUM_CROPS", 64)
    monkeypatch.setattr(soak, "NUM_COMPARISONS", 4)
    return Mixed(FaceModel.of(tiny_btnet(), "tiny"))


def test_under_load_all_answers_are_those_computed_alone_and_the_queue_keeps_its_bound(
    recognizer: Mixed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(soak, "small_recognizer", lambda: recognizer)
    monkeypatch.setattr(soak, "GROWTH", 10.0)  # seconds say nothing of memory
    paths = tmp_path / "soak.json", tmp_path / "soak.png"
    words = ["--minutes", "0.05", "--period", "0.1", "--output", str(paths[0]), "--picture", str(paths[1])]
    assert soak.main(words) == 0
    found = json.loads(paths[0].read_text())
    assert found["largest_error"] < soak.EMBEDDING_TOLERANCE < found["nearest_other_crop"] / 100
    assert found["refused"] > 0
    assert found["fullest_queue"] <= soak.NUM_RUNNING + soak.NUM_WAITING
    assert len(found["samples"]) > 5
    assert paths[1].read_bytes().startswith(b"\x89PNG")


def test_answers_that_were_mixed_up_are_seen(recognizer: Mixed, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = soak.compute_alone(recognizer)
    monkeypatch.setattr(soak, "compute_alone", lambda _: expected)
    recognizer.wrong = True
    found = soak.soak(recognizer, 1.0, 0.1)
    assert found["wrong"] > 0
    assert f"{found['wrong']} wrong answers" in soak.complaints({**found, **soak.memory(found["samples"])})


def test_memory_that_grows_behind_the_warm_up_is_a_complaint() -> None:
    good: dict[str, Any] = {"wrong": 0, "unexpected": [], "fullest_queue": 6, "left_in_queue": 0}
    good |= {"embeds": 1, "comparisons": 1, "refused": 1}
    level = [[float(second), 100 + 900 * (second > 5), 3] for second in range(100)]
    assert soak.complaints({**good, **soak.memory(level)}) == []
    slope = [[float(second), 1000 + second, 3] for second in range(100)]
    found = soak.memory(slope)
    assert found["mb_per_hour"] == pytest.approx(3600)
    assert soak.complaints({**good, **found}) == ["memory grew from 1022 to 1087 MB"]
    assert soak.complaints({**good, **soak.memory(level), "fullest_queue": 7})
