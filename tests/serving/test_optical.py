"""The learnt selector and fusion: they see a planted blur, and choose and average as an independent sum says."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from btnet.inference import Recognizer, select
from btnet.serving.alignment import TEMPLATE
from btnet.serving.face_model import FaceModel
from btnet.serving.fusion import fuse, fusion_weights, one_hot
from btnet.serving.optical import NUM_FEATURES, OpticalSelector, blur_features
from btnet.synthetic.faces import SyntheticFaces
from btnet_lab.native_test.native_set import capture_faces
from btnet_lab.native_test.scene import Conditions
from btnet_lab.native_test.selector_fit import best_cuts, fit_selector
from tiny_models import CANONICAL, crops_of, tiny_btnet

RESOLUTIONS = (112, 28, 14, 7)


@pytest.fixture(scope="module")
def faces() -> NDArray[np.uint8]:
    people = SyntheticFaces(160, 1)
    return np.stack([people[i][0] for i in range(len(people))])


@pytest.fixture(scope="module")
def selector(faces: NDArray[np.uint8]) -> OpticalSelector:
    return fit_selector(faces[:110], seed=1)


def test_a_planted_blur_is_seen_on_people_never_fitted_on(
    selector: OpticalSelector, faces: NDArray[np.uint8]
) -> None:
    taken = capture_faces(faces[110:], Conditions(), seed=2)
    true = np.log2([face.optical_px for face in taken])
    sizes = np.log2([len(face.crop) for face in taken])
    seen = np.log2(selector.optical_sizes([face.crop for face in taken]))
    by_size = np.std(true - sizes)  # with the best constant: what the number of pixels tells
    assert np.sqrt(np.mean((seen - true) ** 2)) < 0.6 * by_size
    assert (seen <= sizes + 1e-9).all()


def test_blurring_a_crop_lowers_its_optical_size_and_its_branch(
    selector: OpticalSelector, faces: NDArray[np.uint8]
) -> None:
    sharp = [cv2.resize(face, (56, 56), interpolation=cv2.INTER_AREA) for face in faces[110:130]]
    blurred = [np.asarray(cv2.GaussianBlur(face, (0, 0), 2.0), np.uint8) for face in sharp]
    before, after = (selector.optical_sizes(crops) for crops in ([np.asarray(s) for s in sharp], blurred))
    assert (after < before).all()
    # sigma 2 = 1/2 of 4 px: 56 px that resolve 14
    assert np.median(after) == pytest.approx(14, rel=0.3)
    assert set(selector.resolutions_of(after, RESOLUTIONS).tolist()) <= {7, 14, 28}


def test_a_band_of_the_spectrum_is_the_energy_of_its_wave() -> None:
    """One cosine of amplitude a across the picture has all its power in the band of its frequency."""
    size, cycles, amplitude = 32, 12, 40.0
    wave = 128 + amplitude * np.cos(2 * np.pi * cycles * (np.arange(size) + 0.5) / size)
    crop = np.repeat(np.repeat(wave.round()[None], size, axis=0)[..., None], 3, axis=2).astype(np.uint8)
    found = blur_features(crop)
    assert found.shape == (NUM_FEATURES,)
    assert found[:2].tolist() == [1.0, 5.0]
    bands = found[2:10]
    np.testing.assert_allclose(found[10:], 5 * bands)
    assert bands.argmax() == int((2 * cycles / size - 0.1) / 0.9 * 8)


@settings(max_examples=60)
@given(sizes=st.lists(st.floats(1, 300), min_size=1, max_size=8))
def test_without_cuts_the_selector_takes_a_size_where_ceil_does(sizes: list[float]) -> None:
    selector = OpticalSelector(np.zeros(NUM_FEATURES))
    found = selector.resolutions_of(np.array(sizes), RESOLUTIONS)
    assert found.tolist() == [select(int(np.ceil(s)), 1, RESOLUTIONS, "max", "ceil") for s in sizes]


def test_cuts_are_the_best_of_all() -> None:
    generator = np.random.default_rng(0)
    for _ in range(20):
        sizes, worth = generator.random(7) + 1, generator.random((7, 3))
        cuts = best_cuts(sizes, worth, (7, 14, 28))
        chosen = OpticalSelector(np.zeros(NUM_FEATURES), cuts).resolutions_of(sizes, (7, 14, 28))
        gained = worth[np.arange(7), np.searchsorted([7, 14, 28], chosen)].sum()
        ordered = worth[np.argsort(sizes)]
        best = max(
            ordered[:i, 0].sum() + ordered[i:j, 1].sum() + ordered[j:, 2].sum()
            for i in range(8)
            for j in range(i, 8)
        )
        assert gained == pytest.approx(best)


def test_a_selector_is_the_same_after_a_round_through_its_file(
    tmp_path: Path, selector: OpticalSelector
) -> None:
    written = OpticalSelector(selector.weights, {7: 6.5, 14: 19.0}, {7: 9.0}, {"seed": 1})
    written.save(tmp_path / "s.json")
    read = OpticalSelector.load(tmp_path / "s.json")
    np.testing.assert_array_equal(read.weights, written.weights)
    assert (read.cuts, read.pixel_cuts, read.about) == (written.cuts, {7: 9.0}, written.about)
    assert (tmp_path / "s.json").stat().st_size < 2000
    (tmp_path / "s.json").write_text('{"kind": "other", "format_version": 1}')
    with pytest.raises(ValueError, match=r"s\.json: not an optical selector"):
        OpticalSelector.load(tmp_path / "s.json")


def test_fitting_with_a_model_gives_a_cut_between_any_two_networks(faces: NDArray[np.uint8]) -> None:
    model = FaceModel.of(tiny_btnet(resolutions=(28, 7)), "tiny")
    fitted = fit_selector(faces[:80], model, seed=1)
    assert sorted(fitted.cuts) == [7, 28]
    assert 0 <= fitted.cuts[7] <= fitted.cuts[28]
    with pytest.raises(ValueError, match="10 faces"):
        fit_selector(faces[:10])


def test_fusion_weights_are_the_distances_of_the_logarithms() -> None:
    found = fusion_weights(np.array([5.0, 7.0, 10.0, 14.0, 20.0, 56.0, 200.0]), RESOLUTIONS)
    share = np.log(20 / 14) / np.log(2)
    expected = [
        [0, 0, 0, 1],
        [0, 0, 0, 1],
        [0, 0, np.log(10 / 7) / np.log(2), 1 - np.log(10 / 7) / np.log(2)],
        [0, 0, 1, 0],
        [0, share, 1 - share, 0],
        [0.5, 0.5, 0, 0],
        [1, 0, 0, 0],
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    with pytest.raises(ValueError, match="face of 0 px"):
        fusion_weights(np.array([0.0]), RESOLUTIONS)


def test_fusion_has_a_face_at_a_cut_between_its_neighbours_and_follows_the_size_elsewhere() -> None:
    cuts = {7: 13.0, 14: 18.0, 28: 40.0}
    selector = OpticalSelector(np.zeros(NUM_FEATURES), cuts)
    weights = fusion_weights(selector.fusion_sizes(np.array([13.0, 18.0, 40.0]), RESOLUTIONS), RESOLUTIONS)
    np.testing.assert_allclose(weights, [[0, 0, 0.5, 0.5], [0, 0.5, 0.5, 0], [0.5, 0.5, 0, 0]], atol=1e-6)
    sizes = np.geomspace(3, 200, 50)
    assert (np.diff(selector.fusion_sizes(sizes, RESOLUTIONS)) > 0).all()
    # Twice the size beyond the last cut is twice the size for fusion too.
    beyond = selector.fusion_sizes(np.array([50.0, 100.0]), RESOLUTIONS)
    assert beyond[1] == pytest.approx(2 * beyond[0])
    plain = OpticalSelector(np.zeros(NUM_FEATURES))
    np.testing.assert_allclose(plain.fusion_sizes(sizes, RESOLUTIONS), sizes)
    empty = OpticalSelector(np.zeros(NUM_FEATURES), {7: 0.0, 14: 0.0, 28: 9.0})
    assert np.isfinite(empty.fusion_sizes(sizes, RESOLUTIONS)).all()


def test_a_fused_embedding_is_the_weighted_mean_of_unit_vectors() -> None:
    generator = np.random.default_rng(0)
    embeddings = {r: generator.normal(size=(3, 4)).astype(np.float32) for r in (28, 7)}
    weights = np.array([[0.25, 0.75], [1, 0], [0, 1]])
    found = fuse(embeddings, weights, (28, 7))
    a, b = (
        {r: e / np.linalg.norm(e, axis=1, keepdims=True) for r, e in embeddings.items()}[r] for r in (28, 7)
    )
    np.testing.assert_allclose(found[0], 0.25 * a[0] + 0.75 * b[0], rtol=1e-5)
    np.testing.assert_allclose(found[1:], [a[1], b[2]], rtol=1e-5)
    assert one_hot(np.array([7, 28]), (28, 7)).tolist() == [[0, 1], [1, 0]]


def test_the_recogniser_goes_by_the_selector_and_fuses() -> None:
    model = FaceModel.of(tiny_btnet(), "tiny")
    crops = [*crops_of([(20, 20), (9, 12), (60, 50)]), np.full((56, 56, 3), 128, np.uint8)]
    plain = Recognizer(model)
    assert plain.choose(crops).tolist() == [28, 14, 112, 112]
    # Log2 of the optical size is half of log2 of the size: 20 px resolve 4.5, 56 px resolve 7.5.
    weights = np.zeros(NUM_FEATURES)
    weights[1] = 0.5
    learnt = Recognizer(model, selector=OpticalSelector(weights, {7: 5.0}))
    assert learnt.choose(crops).tolist() == [7, 7, 14, 14]
    expected = np.concatenate([model.embed([c], r) for c, r in zip(crops, (7, 7, 14, 14), strict=True)])
    np.testing.assert_allclose(learnt.embed(crops), expected, rtol=1e-4, atol=1e-5)

    fused = Recognizer(model, fusion=True).embed(crops[:1])
    small, large = (model.embed(crops[:1], r)[0] for r in (14, 28))
    share = np.log(20 / 14) / np.log(2)
    mean = (1 - share) * small / np.linalg.norm(small) + share * large / np.linalg.norm(large)
    np.testing.assert_allclose(fused[0], mean, rtol=1e-4, atol=1e-5)


def test_faces_of_a_frame_are_cut_in_their_own_size_for_a_selector() -> None:
    model = FaceModel.of(tiny_btnet(), "tiny")
    [frame] = crops_of([(90, 90)])
    landmarks = [TEMPLATE * 0.25 + 5, TEMPLATE * 0.7]
    sizes = [len(crop) for crop in Recognizer(model, fusion=True).align(frame, landmarks)]
    assert sizes == [28, 78]
    assert [len(crop) for crop in Recognizer(model).align(frame, landmarks)] == [28, CANONICAL]
