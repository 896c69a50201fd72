"""The figures' numbers against the networks' own answers; what is stored is numbers, and can be drawn again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from btnet.data.views import normalise, resize
from btnet.serving.embedding import embed_images
from btnet.serving.face_model import FaceModel
from btnet.synthetic.faces import SyntheticFaces
from btnet_lab.analysis.feature_maps import see
from btnet_lab.evidence.agreement import agreement, cosines
from btnet_lab.evidence.figure_maps import (
    MAPS_PX,
    maps_of_rendered_face,
    read_levels,
    read_models,
    rendered_face,
)
from btnet_lab.evidence.figure_pictures import shown_models
from btnet_lab.evidence.figures import read_figures
from tiny_models import tiny_btnet

MODEL = tiny_btnet()
FACES = np.stack([SyntheticFaces(5, 1)[i][0] for i in range(5)])


def test_cosines_are_those_of_the_embeddings() -> None:
    (found,) = cosines(MODEL.trunk, {("phi_bt", 14): MODEL.network(14)}, FACES, "bilinear")
    full = embed_images(MODEL.trunk, FACES, mirror=False)
    small = embed_images(MODEL.network(14), FACES, view_size=14, mirror=False)
    expected = (full * small).sum(1) / np.linalg.norm(full, axis=1) / np.linalg.norm(small, axis=1)
    assert (found["model"], found["resolution"]) == ("phi_bt", 14)
    assert found["mean"] == pytest.approx(expected.mean(), abs=1e-5)
    assert found["std"] == pytest.approx(expected.std(), abs=1e-5)


def test_a_branchs_map_is_compared_with_the_trunks_at_the_coupling_layer() -> None:
    (found,) = agreement(MODEL.trunk, {("phi_bt", 14): MODEL.network(14)}, FACES, "bilinear")
    images = torch.from_numpy(FACES).permute(0, 3, 1, 2)
    layer = MODEL.trunk.coupling_layer(14)
    with torch.no_grad():
        trunk = MODEL.trunk.forward_to(normalise(images), layer)
        branch = MODEL.network(14).forward_to(normalise(resize(images, 14)), layer)
    errors = [float(((b - t) ** 2).mean() / t.var(correction=0)) for b, t in zip(branch, trunk, strict=True)]
    assert found["coupling"]["mean"] == pytest.approx(np.mean(errors), rel=1e-4)
    assert len(found["stages"]) == 5
    assert all(-1 <= stage["mean"] <= 1 for stage in found["stages"])


def test_maps_are_numbers_and_come_back_within_half_a_grey_level() -> None:
    models = {(label, r): FaceModel.of(MODEL, label) for label in ("phi_hr", "phi_bt") for r in (28, 14, 7)}
    models |= {("phi_bt on phi_mr v1", 14): FaceModel.of(MODEL, "x")}
    data = json.loads(json.dumps(maps_of_rendered_face(MODEL.trunk, models, "bilinear")))
    assert [level["resolution"] for level in data["pyramid"]] == [56, 28, 14, 7]
    full, high, branch = read_models(data)
    assert [m.model for m in (full, high, branch)] == ["phi_hr", "phi_hr", "phi_bt"]
    expected = see(models["phi_bt", 14], rendered_face(), MAPS_PX)
    assert branch.network == expected.network
    np.testing.assert_array_equal(branch.view, expected.view)
    for stage, wanted in zip(branch.stages, expected.stages, strict=True):
        np.testing.assert_allclose(stage.image, wanted.image, atol=np.ptp(wanted.image) / 500)
        assert stage.correlation == wanted.correlation
    levels = {level.resolution: level for level in read_levels(data)}
    assert levels[56].branch is None
    assert levels[14].branch is not None
    assert levels[14].trunk.shape == levels[14].branch.shape == (14, 14)


def test_of_each_family_the_best_on_average_is_shown() -> None:
    def by(low: float) -> dict[str, list[float]]:
        return {"112&112": [1.0 - low] * 10, "14&14": [low] * 10}

    folds = {"phi_hr": by(0.7), "phi_mm, from scratch": by(0.6), "phi_mm, from the trunk": by(0.8),
             "phi_mr v1": by(0.9), "phi_mr v2": by(0.85), "phi_bt": by(0.95)}  # fmt: skip
    assert shown_models(folds) == ["phi_hr", "phi_mm, from the trunk", "phi_mr v1", "phi_bt"]


@pytest.mark.parametrize("text", ["{", "[1]", '{"data": {}}'])
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, text: str) -> None:
    assert read_figures(tmp_path) == {}
    path = tmp_path / "figures" / "costs.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ValueError, match=r"costs\.json: not a file of .*remove it"):
        read_figures(tmp_path)


def test_the_stored_numbers_of_the_repository_hold_no_face_and_no_path() -> None:
    folder = Path(__file__).parents[3] / "docs" / "results"
    figures = read_figures(folder)
    assert figures.keys() == {
        "architecture",
        "costs",
        "error_bound",
        "folds",
        "maps",
        "selection",
        "upsampling",
    }

    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [*value, *(text for each in value.values() for text in texts(each))]
        if isinstance(value, list):
            return [text for each in value for text in texts(each)]
        return [value] if isinstance(value, str) else []

    assert not [text for text in texts(figures) if "/" in text or ".jpg" in text]
