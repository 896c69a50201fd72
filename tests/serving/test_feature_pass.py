"""A feature pass that was killed goes on to the embeddings of an undisturbed one, to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from btnet.serving import feature_pass
from btnet.serving.feature_file import FeatureFile
from btnet.serving.feature_pass import FeatureTask, fill_features
from tiny_models import tiny_trunk

NUM_IMAGES, EVEN = 30, np.arange(0, 30, 2)
ROWS = (np.arange(NUM_IMAGES), EVEN, np.arange(1, NUM_IMAGES, 3))


class KilledError(Exception):
    pass


@pytest.fixture(autouse=True)
def embeddings_that_depend_on_their_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    def embed(_network: object, images: NDArray[np.uint8], **_: object) -> NDArray[np.float32]:
        return np.stack([[image[0, 0, 0], images[:, 0, 0, 0].sum()] for image in images]).astype(np.float32)

    monkeypatch.setattr(feature_pass, "embed_images", embed)
    monkeypatch.setattr(feature_pass, "_BLOCK", 7)


def run(folder: Path, unreadable: int | None = None) -> list[NDArray[np.float32]]:
    tasks = [
        FeatureTask(FeatureFile.open(folder, {"task": number}, NUM_IMAGES, 2), tiny_trunk(), 112, False, rows)
        for number, rows in enumerate(ROWS)
    ]

    class Images:
        def __len__(self) -> int:
            return NUM_IMAGES

        def __getitem__(self, index: int) -> NDArray[np.uint8]:
            if index == unreadable:
                raise ValueError("not an image")
            return np.full((2, 2, 3), index + 1, np.uint8)

    fill_features(tasks, Images(), lambda _row, image, _r: image, interpolation="bilinear", num_workers=1)
    return [np.array(task.file.features) for task in tasks]


@pytest.mark.parametrize("writes", range(0, 15, 2))
def test_a_pass_that_was_killed_ends_with_the_embeddings_of_an_undisturbed_one(
    tmp_path: Path, writes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(tmp_path / "whole")
    assert all(features[rows].all() for features, rows in zip(whole, ROWS, strict=True))
    write, count = FeatureFile.write, 0

    def killed(self: FeatureFile, rows: Any, features: Any) -> None:
        nonlocal count
        count += 1
        if count > writes:  # in the middle of saying which are there
            write(self, rows[:2], features[:2])
            raise KilledError
        write(self, rows, features)

    with monkeypatch.context() as patch:
        patch.setattr(FeatureFile, "write", killed)
        with pytest.raises(KilledError):
            run(tmp_path / "killed")
    for expected, found in zip(whole, run(tmp_path / "killed"), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_an_image_that_stays_unreadable_does_not_have_its_neighbours_embedded_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = run(tmp_path, unreadable=4)
    monkeypatch.setattr(FeatureFile, "write", lambda *_: pytest.fail("embedded again"))
    for expected, found in zip(before, run(tmp_path, unreadable=4), strict=True):
        np.testing.assert_array_equal(found, expected)
