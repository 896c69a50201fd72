from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from btnet.evaluation import templates
from btnet.evaluation.templates import PRESETS, TemplateOptions, identity_means, pool_templates

Array = npt.NDArray[Any]


def slow_pooling(features: Array, template_ids: Array, media_ids: Array, weights: Array) -> Array:
    """The protocol image by image: mean over a medium's images, sum over the media, unit length."""
    pooled = []
    for template in sorted(set(template_ids.tolist())):
        media: dict[int, list[Array]] = {}
        for row in np.flatnonzero(template_ids == template):
            media.setdefault(int(media_ids[row]), []).append(weights[row] * features[row])
        total = sum(np.mean(images, axis=0) for images in media.values())
        pooled.append(total / np.linalg.norm(total))
    return np.array(pooled)


@given(st.integers(0, 100_000), st.sampled_from(["N0D0F0", "N1D1F0", "N1D0F1", "N0D1F1"]))
@settings(max_examples=60)
def test_pooling_equals_the_protocol_written_out(seed: int, options: str) -> None:
    rng = np.random.default_rng(seed)
    num_images = int(rng.integers(1, 40))
    features, mirrored = rng.normal(size=(2, num_images, 5)).astype(np.float32)
    template_ids, media_ids = rng.integers(0, 6, num_images) * 7, rng.integers(0, 4, num_images) - 2
    detector_scores = rng.uniform(0.1, 1, num_images)
    total = features + mirrored if "F1" in options else features
    weights = detector_scores if "D1" in options else np.ones(num_images)
    if "N0" in options:
        weights = weights / np.linalg.norm(total, axis=1)

    pooled = pool_templates(
        features,
        template_ids,
        media_ids,
        norm_score="N1" in options,
        detector_scores=detector_scores if "D1" in options else None,
        mirrored=mirrored if "F1" in options else None,
    )
    np.testing.assert_allclose(
        pooled.features, slow_pooling(total, template_ids, media_ids, weights), atol=1e-5
    )
    assert pooled.ids.tolist() == sorted(set(template_ids.tolist()))


@given(st.integers(0, 100_000), st.booleans())
@settings(max_examples=60)
def test_images_that_are_not_there_are_in_no_mean(seed: int, norm_score: bool) -> None:
    rng = np.random.default_rng(seed)
    num_images = int(rng.integers(2, 40))
    features = rng.normal(size=(num_images, 5)).astype(np.float32)
    template_ids, media_ids = rng.integers(0, 3, num_images), rng.integers(0, 3, num_images)
    scores = rng.uniform(0.1, 1, num_images)
    there = rng.random(num_images) < 0.7
    # What an unreadable image has in its row.
    features[~there] = 0

    def pooled(rows: Array, counted: Array | None) -> Array:
        made = pool_templates(
            features[rows],
            template_ids[rows],
            media_ids[rows],
            norm_score=norm_score,
            detector_scores=scores[rows],
            there=counted,
        )
        return made.features

    if set(template_ids[there]) != set(template_ids):
        with pytest.raises(
            ValueError, match="templates have no readable image at all, the first is template"
        ):
            pooled(np.arange(num_images), there)
    else:
        np.testing.assert_allclose(pooled(np.arange(num_images), there), pooled(there, None), atol=1e-6)


def test_a_memory_map_read_in_blocks_pools_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    template_ids, media_ids = rng.integers(0, 9, (2, 100))
    features = np.lib.format.open_memmap(tmp_path / "features.npy", "w+", np.float16, (100, 8))
    features[:] = rng.normal(size=(100, 8))
    whole = pool_templates(features, template_ids, media_ids, norm_score=False)
    monkeypatch.setattr(templates, "_BLOCK_ROWS", 7)
    blocks = pool_templates(features, template_ids, media_ids, norm_score=False)
    np.testing.assert_allclose(blocks.features, whole.features, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(whole.features, axis=1), 1, atol=1e-6)


def test_an_image_counts_by_its_length_only_with_the_norm_score() -> None:
    features, ids = np.array([[9.0, 0.0], [0.0, 1.0]]), np.zeros(2, dtype=int)
    even = pool_templates(features, ids, np.arange(2), norm_score=False).features[0]
    np.testing.assert_allclose(even, [0.5**0.5, 0.5**0.5], atol=1e-6)
    uneven = pool_templates(features, ids, np.arange(2), norm_score=True).features[0]
    np.testing.assert_allclose(uneven, np.array([9, 1]) / 82**0.5, atol=1e-6)


def test_presets_are_those_of_the_authors_and_of_insightface() -> None:
    assert {name: options.label for name, options in PRESETS.items()} == {
        "authors": "N0D1F1",
        "insightface": "N1D1F1",
    }
    assert TemplateOptions(norm_score=False, detector_score=False, flip=False).label == "N0D0F0"


def test_templates_are_found_by_id() -> None:
    pooled = pool_templates(np.eye(3), np.array([30, 10, 20]), np.zeros(3), norm_score=True)
    assert pooled.rows(np.array([20, 20, 10])).tolist() == [1, 1, 0]
    np.testing.assert_array_equal(pooled.features[pooled.rows(np.array([30]))], np.eye(3)[:1])
    with pytest.raises(ValueError, match="2 of 3 template ids have no image, the first is 11"):
        pooled.rows(np.array([10, 11, 99]))


def test_identity_means_are_means_of_embeddings_as_they_are() -> None:
    rng = np.random.default_rng(1)
    embeddings, names = rng.normal(size=(30, 4)), rng.choice(["a", "b", "c"], 30)
    means, people = identity_means(embeddings, names)
    assert people.tolist() == ["a", "b", "c"]
    for mean, person in zip(means, people, strict=True):
        np.testing.assert_allclose(mean, embeddings[names == person].mean(axis=0), atol=1e-6)


def test_bad_input_is_answered_with_what_is_expected() -> None:
    features, ids = np.ones((4, 3)), np.arange(4)
    broken = features.copy()
    broken[2, 0] = np.inf
    for norm_score in (True, False):
        with pytest.raises(ValueError, match="images: embeddings are NaN or infinite, the first in row 2"):
            pool_templates(broken, ids, ids, norm_score=norm_score)
    with pytest.raises(ValueError, match=r"media_ids have shape \[3\], expected \[4\]"):
        pool_templates(features, ids, ids[:3], norm_score=True)
    with pytest.raises(ValueError, match=r"mirrored have shape \[4, 2\], expected \[4, 3\]"):
        pool_templates(features, ids, ids, norm_score=True, mirrored=features[:, :2])
    with pytest.raises(ValueError, match="detector_scores hold NaN"):
        pool_templates(features, ids, ids, norm_score=True, detector_scores=np.full(4, np.nan))
    with pytest.raises(ValueError, match=r"features have shape \[0, 3\], expected \[N, D\]"):
        pool_templates(features[:0], ids[:0], ids[:0], norm_score=True)
    with pytest.raises(ValueError, match=r"ids have shape \[3\] for 4 embeddings"):
        identity_means(features, ids[:3])
    with pytest.raises(ValueError, match=r"features have shape \[0, 3\]"):
        identity_means(features[:0], ids[:0])
    with pytest.raises(ValueError, match="embeddings: embeddings are NaN or infinite, the first in row 2"):
        identity_means(broken, ids)
