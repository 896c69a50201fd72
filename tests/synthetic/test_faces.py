import hashlib
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from btnet.images.resize import resize
from btnet.synthetic import faces as synthetic
from btnet.synthetic.capture import draw_capture
from btnet.synthetic.faces import SyntheticFaces
from btnet.synthetic.identity import draw_identity
from btnet.synthetic.render import render_face
from btnet.synthetic.skin import draw_skin

_PRINT_SHA256 = """
import hashlib, pickle, sys
faces = pickle.load(sys.stdin.buffer)
for index in map(int, sys.argv[1:]):
    print(hashlib.sha256(faces[index][0].tobytes()).hexdigest())
"""


def test_images_are_equal_in_another_process_and_in_any_order() -> None:
    faces = SyntheticFaces(5, 3, seed=7, first_identity=40)
    indices = [14, 0, 7, 1]
    command = [sys.executable, "-c", _PRINT_SHA256, *map(str, indices[::-1])]
    # Another hash seed: nothing may hang on the order of a set or on hash().
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    output = subprocess.run(
        command, input=pickle.dumps(faces), env=environment, capture_output=True, check=True, timeout=60
    ).stdout
    here = [hashlib.sha256(faces[index][0].tobytes()).hexdigest() for index in indices]
    assert output.decode().split()[::-1] == here
    assert len(set(here)) == len(indices)


def test_a_drawn_image_ignores_the_global_generators() -> None:
    np.random.seed(1)
    first = SyntheticFaces(1, 1)[0][0]
    np.random.seed(2)
    render_face.__globals__["_person"].cache_clear()
    np.testing.assert_array_equal(SyntheticFaces(1, 1)[0][0], first)


def test_a_caller_who_writes_into_an_image_changes_no_later_one() -> None:
    faces = SyntheticFaces(1, 2)
    expected = faces[1][0].copy()
    faces[0][0][:] = 0
    faces[1][0][:] = 0
    np.testing.assert_array_equal(faces[1][0], expected)


def test_an_absolute_number_is_the_same_person_in_every_set() -> None:
    early, late = SyntheticFaces(8, 2, seed=3), SyntheticFaces(3, 2, seed=3, first_identity=5)
    np.testing.assert_array_equal(early[2 * 6 + 1][0], late[2 * 1 + 1][0])
    assert early.class_names[5:] == late.class_names == ["person 00005", "person 00006", "person 00007"]
    assert late[3][1] == 1


def test_people_of_other_numbers_or_seeds_are_other_people() -> None:
    people = [draw_identity(seed, number) for seed in (0, 1) for number in range(500)]
    # No single trait names a person, and no two people share one of the continuous ones.
    assert len({person.head.jaw for person in people}) == len(people)
    assert len({person.skin.key for person in people}) == len(people)
    colours = [person.hair.colour for person in people]
    assert np.std(colours, axis=0).min() > 20


def test_fine_marks_belong_to_the_person() -> None:
    first, second = draw_identity(0, 1), draw_identity(0, 2)
    np.testing.assert_array_equal(draw_skin(first), draw_skin(first))
    one, other = (draw_skin(person).astype(float)[80:180, 70:160] for person in (first, second))
    assert one.std() > 2
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.5


def test_circumstances_differ_between_images_of_a_person() -> None:
    captures = [draw_capture(0, 3, shot) for shot in range(60)]
    assert np.std([capture.pose.yaw for capture in captures]) > 0.1
    assert np.std([capture.camera.intensity for capture in captures]) > 0.05
    assert np.std([capture.expression.smile for capture in captures]) > 0.1
    assert {capture.camera.is_grey for capture in captures} == {False, True}
    images = [render_face(0, 3, shot).astype(float) for shot in range(4)]
    gaps = [np.abs(a - b).mean() for i, a in enumerate(images) for b in images[:i]]
    assert min(gaps) > 5


def test_images_fill_the_range_and_have_the_promised_form() -> None:
    faces = SyntheticFaces(12, 4, seed=2)
    images = np.stack([faces[index][0] for index in range(len(faces))])
    assert images.dtype == np.uint8
    assert images.shape == (48, 112, 112, 3)
    assert images.min() < 10
    assert images.max() > 245
    assert 60 < images.mean() < 170
    # Every image shows something: neither black, nor burnt out, nor flat.
    assert images.reshape(48, -1).std(axis=1).min() > 12


def _features(images: list[NDArray[np.uint8]], size: int) -> NDArray[np.float64]:
    """The middle of each image in grey, brightness and contrast removed."""
    small = np.stack([resize(image, size) for image in images]).mean(axis=3)
    edge = size // 7
    middle = small[:, edge:-edge, edge:-edge].reshape(len(images), -1)
    centred = middle - middle.mean(axis=1, keepdims=True)
    normed: NDArray[np.float64] = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return normed


@pytest.mark.parametrize("size", [112, 14])
def test_images_of_a_person_are_nearer_than_images_of_two(size: int) -> None:
    faces = SyntheticFaces(40, 5, seed=4)
    features = _features([faces[index][0] for index in range(len(faces))], size)
    distance = 1 - features @ features.T
    same = faces.labels[:, None] == faces.labels
    within = distance[same & ~np.eye(len(faces), dtype=bool)].mean()
    between = distance[~same].mean()
    assert within < 0.85 * between
    # ... but not so near that pixels alone would do: there is something to learn.
    nearest = np.where(np.eye(len(faces), dtype=bool), np.inf, distance).argmin(axis=1)
    assert 0.1 < (faces.labels[nearest] == faces.labels).mean() < 0.9


def test_labels_count_images_of_each_person_and_match_what_is_returned() -> None:
    faces = SyntheticFaces(3, 2)
    assert faces.labels.dtype == np.int64
    assert faces.labels.tolist() == [0, 0, 1, 1, 2, 2] == [faces[index][1] for index in range(6)]
    assert (len(faces), faces.num_classes) == (6, 3)


def test_a_pickled_set_is_small_and_draws_the_same() -> None:
    faces = SyntheticFaces(2, 2, seed=5)
    expected = faces[3][0]
    pickled = pickle.dumps(faces)
    assert len(pickled) < 1000
    np.testing.assert_array_equal(pickle.loads(pickled)[3][0], expected)


def test_fingerprint_changes_with_every_parameter_and_with_the_renderer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sets = [SyntheticFaces(4, 2), SyntheticFaces(5, 2), SyntheticFaces(4, 3), SyntheticFaces(4, 2, 1)]
    sets.append(SyntheticFaces(4, 2, first_identity=4))
    fingerprints = [faces.fingerprint() for faces in sets]
    assert SyntheticFaces(4, 2).fingerprint() == fingerprints[0]
    monkeypatch.setattr(synthetic, "RENDERER_VERSION", -1)
    assert len({*fingerprints, sets[0].fingerprint()}) == 6


def test_negative_indices_count_from_the_end_and_others_are_refused() -> None:
    faces = SyntheticFaces(3, 2, seed=9, first_identity=10)
    np.testing.assert_array_equal(faces[-1][0], faces[5][0])
    assert faces.describe(5) == "synthetic faces of seed 9, person 00012, image 1"
    for index in (6, -7):
        with pytest.raises(IndexError, match=rf"image {index} of a set of 6 synthetic faces"):
            faces[index]
        with pytest.raises(IndexError):
            faces.describe(index)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1, 0), "num_identities is 0, expected at least 1"),
        ((1, 0, 0), "images_per_identity is 0, expected at least 1"),
        ((1, 1, -1), "seed is -1, expected at least 0"),
    ],
)
def test_impossible_sets_are_refused(arguments: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SyntheticFaces(*arguments)
