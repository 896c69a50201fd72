"""Which input a model takes, judged by how well labelled people are told apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from btnet.interop.conventions import RANGES, Convention, Labelled, judge, labelled_faces, told
from btnet.synthetic.faces import SyntheticFaces

RGB, BGR = (Convention(order, 127.5, 127.5) for order in ("RGB", "BGR"))


def people(num_people: int = 30, images_each: int = 4) -> Labelled:
    """Red tells who it is, green too; blue is noise."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(num_people), images_each)
    patterns = generator.integers(40, 216, (num_people, 8, 8))
    images = generator.integers(0, 256, (len(labels), 8, 8, 3))
    images[..., :2] = (patterns[labels] + generator.normal(0, 30, (len(labels), 8, 8)))[..., None].clip(
        0, 255
    )
    return Labelled(images.astype(np.uint8), labels)


def red(x: torch.Tensor) -> NDArray[np.float32]:
    seen: NDArray[np.float32] = x[:, 0].flatten(1).numpy()
    return seen


def green(x: torch.Tensor) -> NDArray[np.float32]:
    seen: NDArray[np.float32] = x[:, 1].flatten(1).numpy()
    return seen


def test_a_convention_that_another_one_beats_is_refused_and_the_other_named() -> None:
    judged = judge(red, people(), BGR, [RGB])
    assert [each.convention for each in judged] == [BGR, RGB]
    assert judged[0].separation < 0.5
    difference = judged[1].difference
    assert difference is not None
    assert 1 < difference.low < difference.mean < difference.high
    assert difference.mean == pytest.approx(judged[1].separation - judged[0].separation)
    with pytest.raises(ValueError, match=r"^x\.onnx: RGB, .* apart better than BGR, .*; state that one$"):
        told(judged, "x.onnx")


def test_the_right_convention_is_borne_out_and_what_does_not_matter_cannot_be_told() -> None:
    assert told(judge(red, people(), RGB, [BGR]), "x") == f"{RGB} is significantly better than any other"
    assert told(judge(green, people(), BGR, [RGB]), "x") == f"cannot tell {BGR} from {RGB} with these faces"


def test_one_of_several_others_is_enough_to_refuse_and_one_that_overflows_is_worse() -> None:
    def clipping(x: torch.Tensor) -> NDArray[np.float32]:
        seen = red(x)
        return np.where(np.abs(seen) > 2, np.inf, seen)

    others = [Convention(order, *each) for order in ("RGB", "BGR") for each in RANGES]
    by_convention = {
        each.convention: each for each in judge(clipping, people(), RGB, [o for o in others if o != RGB])
    }
    assert by_convention[Convention("RGB", 0.0, 1.0)].verdict.startswith("worse")
    with pytest.raises(ValueError, match="tells these people apart better"):
        told(judge(clipping, people(), BGR, [o for o in others if o != BGR]), "x")


def test_chance_alone_refuses_nothing() -> None:
    """Two conventions of a model that sees noise: a right one is not refused for the luck of the other."""

    def blue(x: torch.Tensor) -> NDArray[np.float32]:
        return np.asarray(x[:, 2].flatten(1).numpy())

    noise = people()
    noise.images[..., 0] = np.random.default_rng(1).integers(0, 256, noise.images.shape[:3])
    for stated, other in ((RGB, BGR), (BGR, RGB)):
        assert told(judge(blue, noise, stated, [other]), "x").startswith("cannot tell")


def test_faces_are_drawn_by_person_and_too_few_are_refused() -> None:
    labelled = labelled_faces(SyntheticFaces(6, 5, seed=0), 32, num_people=4, images_each=3)
    assert labelled.images.shape == (12, 32, 32, 3)
    assert np.bincount(labelled.labels).max() == 3
    assert len(set(labelled.labels)) == 4
    with pytest.raises(ValueError, match="labelled faces with 6 pairs of one person"):
        judge(red, Labelled(labelled.images[:6], labelled.labels[:6]), RGB, [BGR])


def test_the_separation_is_the_distance_of_the_means_in_standard_deviations_of_impostors() -> None:
    labelled = people()
    [judged] = judge(red, labelled, RGB, [])
    seen = ((labelled.images[..., 0].astype(float) - 127.5) / 127.5).reshape(len(labelled.labels), -1)
    unit = seen / np.linalg.norm(seen, axis=1, keepdims=True)
    cosines, same = unit @ unit.T, labelled.labels[:, None] == labelled.labels[None]
    upper = np.triu(np.ones_like(same), 1)
    matched, impostors = cosines[same & upper], cosines[~same & upper]
    # All impostor pairs here, as many as matched ones there.
    assert judged.separation == pytest.approx((matched.mean() - impostors.mean()) / impostors.std(), rel=0.2)
