from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.overrides import TorchFunctionMode

from btnet.data.views import (
    INTERPOLATIONS,
    MultiResolution,
    down_up,
    flip,
    flip_mask,
    normalise,
    resize,
    resize_float,
)
from btnet.draws import _step, draw

Pixels = npt.NDArray[np.uint8]
OPENCV = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
PILLOW = {"bilinear_aa": Image.Resampling.BILINEAR, "bicubic_aa": Image.Resampling.BICUBIC}


def picture(height: int, width: int, seed: int = 0, kind: str = "noise") -> Pixels:
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == "extremes":  # the worst case for overshoots and clipping
        return np.where(noise < 128, 0, 255).astype(np.uint8)
    return noise


def reference(image: Pixels, height: int, width: int, interpolation: str) -> Pixels:
    if interpolation in OPENCV:
        resized = cv2.resize(image, (width, height), interpolation=OPENCV[interpolation])
        return resized.astype(np.uint8)
    # One axis at a time, in the order of Pillow 13: earlier versions always take the rows first.
    source_height, source_width = image.shape[:2]
    columns_first = source_height - height > max(0, 2 * (source_width - width))
    between = (source_width, height) if columns_first else (width, source_height)
    method = PILLOW[interpolation]
    resized_image = Image.fromarray(image).resize(between, method).resize((width, height), method)
    return np.asarray(resized_image)


def to_nchw(image: Pixels) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None]


@pytest.mark.parametrize("size", [56, 28, 14, 7])
@pytest.mark.parametrize("kind", ["noise", "extremes"])
def test_bilinear_is_bit_equal_to_opencv_down_the_pyramid(size: int, kind: str) -> None:
    for seed in range(5):
        image = picture(112, 112, seed, kind)
        np.testing.assert_array_equal(resize(image, size), reference(image, size, size, "bilinear"))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("sizes", [(112, 56), (112, 28), (112, 14), (112, 7), (7, 112), (14, 112), (28, 112)])
def test_views_of_the_pyramid_are_within_one_grey_level(interpolation: str, sizes: tuple[int, int]) -> None:
    source, target = sizes
    for kind in ("noise", "extremes"):
        image = picture(source, source, kind=kind)
        ours = resize(image, target, interpolation).astype(int)
        assert np.abs(ours - reference(image, target, target, interpolation)).max() <= 1


side = st.integers(1, 140)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@given(height=side, width=side, to_height=side, to_width=side, kind=st.sampled_from(["noise", "extremes"]))
@settings(max_examples=40)
def test_any_size_is_within_one_grey_level_of_opencv_or_pillow(
    interpolation: str, height: int, width: int, to_height: int, to_width: int, kind: str
) -> None:
    image = picture(height, width, kind=kind)
    ours = resize(image, (to_height, to_width), interpolation)
    assert ours.shape == (to_height, to_width, 3)
    theirs = reference(image, to_height, to_width, interpolation)
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [7, (30, 20), (150, 40), 113, (57, 90), 112])
def test_every_path_gives_the_same_bits(interpolation: str, size: int | tuple[int, int]) -> None:
    images = [picture(57, 112, seed) for seed in range(3)]
    one_by_one = np.stack([resize(image, size, interpolation) for image in images])
    batch = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    expected = torch.from_numpy(one_by_one).permute(0, 3, 1, 2)
    assert torch.equal(resize(batch, size, interpolation), expected)
    assert torch.equal(resize(batch.contiguous(), size, interpolation), expected)
    assert torch.equal(resize_float(batch.float(), size, interpolation), expected.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(resize(batch, size, interpolation), expected)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_arithmetic_is_exact_so_order_of_summation_cannot_matter(interpolation: str) -> None:
    # Float64 would show any bit that float32 lost.
    images = to_nchw(picture(112, 90, kind="extremes"))
    torch.testing.assert_close(
        resize_float(images, (13, 101), interpolation),
        _in_float64(images, (13, 101), interpolation),
        rtol=0,
        atol=0,
    )


def _in_float64(images: torch.Tensor, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    def widen(value: Any) -> Any:
        return torch.float64 if value is torch.float32 else value

    class Wide(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            return func(*map(widen, args), **{key: widen(value) for key, value in (kwargs or {}).items()})

    with Wide():
        wide = resize_float(images, size, interpolation)
    assert wide.dtype == torch.float64
    return wide.to(torch.float32)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_flat_images_stay_flat_and_equal_sizes_change_nothing(interpolation: str) -> None:
    for level in (0, 1, 127, 254, 255):
        flat = np.full((37, 53, 3), level, dtype=np.uint8)
        for size in (5, 64, (12, 90)):
            assert (resize(flat, size, interpolation) == level).all()
    image = picture(20, 30)
    np.testing.assert_array_equal(resize(image, (20, 30), interpolation), image)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "bilinear_aa", "bicubic_aa"])
def test_mirrored_faces_have_mirrored_views(interpolation: str) -> None:
    image = picture(112, 112)
    for size in (7, 31, 56, 150):
        mirrored = resize(image[:, ::-1], size, interpolation)
        np.testing.assert_array_equal(mirrored, resize(image, size, interpolation)[:, ::-1])


def test_halves_are_rounded_up() -> None:
    image = np.array([[[0, 2, 3], [1, 3, 4]]], dtype=np.uint8)
    np.testing.assert_array_equal(resize(image, (1, 1), "area"), [[[1, 3, 4]]])


def test_resize_is_part_of_an_exported_graph() -> None:
    class Door(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return resize_float(images, 14, "bicubic") / 127.5 - 1

    images = to_nchw(picture(112, 112))
    program = torch.export.export(
        Door(), (images.expand(2, -1, -1, -1),), dynamic_shapes={"images": {0: torch.export.Dim("batch")}}
    )
    expected = normalise(resize(images, 14, "bicubic"))
    assert torch.equal(program.module()(images.expand(3, -1, -1, -1)), expected.expand(3, -1, -1, -1))
    # Tracing leaves nothing behind that later calls could trip over.
    assert torch.equal(normalise(resize(images, 14, "bicubic")), expected)


def test_read_only_and_reversed_arrays_are_taken_as_they_are() -> None:
    image = picture(20, 30)
    expected = resize(image, 7)
    read_only = image.copy()
    read_only.setflags(write=False)
    np.testing.assert_array_equal(resize(read_only, 7), expected)
    np.testing.assert_array_equal(resize(image[..., ::-1], 7), expected[..., ::-1])


def test_unknown_interpolation_is_answered_with_the_nearest_name_first() -> None:
    with pytest.raises(ValueError, match="'bicubic_antialias' is unknown; choose one of bicubic_aa, "):
        resize(picture(8, 8), 4, "bicubic_antialias")
    with pytest.raises(ValueError, match=r"expected torch\.uint8"):
        resize(torch.zeros(1, 3, 8, 8), 4)
    with pytest.raises(ValueError, match="expected uint8"):
        resize(picture(8, 8).astype(np.float32), 4)
    with pytest.raises(ValueError, match="size 0 is no image size"):
        resize(picture(8, 8), 0)
    with pytest.raises(ValueError, match="hold no pixel"):
        resize(np.zeros((0, 8, 3), dtype=np.uint8), 4)


def test_normalise_spans_minus_one_to_one() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    assert torch.equal(normalise(images).flatten(), torch.arange(256) / 127.5 - 1)
    assert normalise(images, torch.bfloat16).dtype == torch.bfloat16
    with pytest.raises(ValueError, match="normalise only once"):
        normalise(normalise(images))


def test_down_up_is_two_resizes_and_keeps_the_size() -> None:
    images = to_nchw(picture(112, 96))
    blurred = down_up(images, 14, "area")
    assert blurred.shape == images.shape
    expected = resize(resize(images, 14, "area"), (112, 96), "area")
    assert torch.equal(blurred, expected)


def test_draws_are_uniform_and_independent_between_keys_epochs_seeds_and_purposes() -> None:
    keys = torch.arange(100_000)
    draws = {
        name: draw(keys, seed=seed, epoch=epoch, purpose=purpose).double() / 2**32
        for name, seed, epoch, purpose in [
            ("first", 0, 0, "flip"),
            ("epoch", 0, 1, "flip"),
            ("seed", 1, 0, "flip"),
            ("purpose", 0, 0, "size"),
        ]
    }
    for values in draws.values():
        assert 0 <= values.min() <= values.max() < 1
        counts = torch.histc(values, bins=50, min=0, max=1)
        # Chi-square of 49 degrees of freedom: mean 49, deviation 9.9.
        assert ((counts - 2000) ** 2 / 2000).sum() < 49 + 5 * 9.9
        assert abs(torch.corrcoef(torch.stack([values[:-1], values[1:]]))[0, 1]) < 0.016
    for left, right in pairwise([*draws.values(), draws["first"]]):
        assert abs(torch.corrcoef(torch.stack([left, right]))[0, 1]) < 0.016


def test_draws_follow_splitmix64() -> None:
    # Steele et al.'s generator from state 0 begins with these numbers, and its state grows by this constant.
    for number, known in enumerate((0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F)):
        state = number * 0x9E3779B97F4A7C15 % 2**64
        state -= 2**64 if state >= 2**63 else 0
        assert int(_step(torch.tensor([state])).item()) % 2**64 == known


def test_draws_are_the_same_on_every_machine() -> None:
    drawn = draw(torch.tensor([0, 1, 7, -1]), seed=3, epoch=2, purpose="size")
    # Recorded once: a changed hash would silently change every run's data.
    assert drawn.tolist() == [4058168367, 876861823, 1222388210, 3976688949]


def test_flip_mirrors_half_of_the_images_whatever_their_order() -> None:
    keys = torch.arange(20_000)
    mask = flip_mask(keys, seed=1, epoch=3)
    assert abs(mask.double().mean() - 0.5) < 0.015
    order = torch.randperm(20_000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(flip_mask(keys[order], seed=1, epoch=3), mask[order])
    assert torch.equal(flip_mask(keys[5:6], seed=1, epoch=3), mask[5:6])
    assert not torch.equal(flip_mask(keys, seed=1, epoch=4), mask)

    images = torch.arange(24).reshape(2, 3, 2, 2)
    flipped = flip(images, torch.tensor([False, True]))
    assert torch.equal(flipped[0], images[0])
    assert torch.equal(flipped[1], images[1].flip(-1))
    with pytest.raises(ValueError, match="one per image"):
        flip(images, torch.tensor([True]))


@pytest.mark.parametrize(
    ("version", "probabilities"), [("v1", [0.2] * 5), ("v2", [0.3, 0.25, 0.2, 0.15, 0.1])]
)
@pytest.mark.parametrize("canonical_size", [112, 64])
def test_pyramid_sizes_come_with_the_papers_probabilities(
    version: str, probabilities: list[float], canonical_size: int
) -> None:
    sizes = MultiResolution(version, canonical_size=canonical_size).sizes(torch.arange(50_000), epoch=0)
    pyramid = [canonical_size // divisor for divisor in (1, 2, 4, 8, 16)]
    assert set(sizes.tolist()) == set(pyramid)
    for size, probability in zip(pyramid, probabilities, strict=True):
        assert abs((sizes == size).double().mean() - probability) < 0.01


def test_v3_draws_every_size_from_4_to_112_alike() -> None:
    sizes = MultiResolution("v3").sizes(torch.arange(109_000), epoch=0)
    counts = torch.bincount(sizes, minlength=113)
    assert counts[:4].sum() == 0
    # Mean 1000, deviation 31.5.
    assert 1000 - 5 * 32 < counts[4:].min() <= counts[4:].max() < 1000 + 5 * 32


@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_augmented_images_do_not_depend_on_their_batch(version: str) -> None:
    images = torch.cat([to_nchw(picture(32, 32, seed)) for seed in range(24)])
    keys = torch.arange(100, 124)
    augment = MultiResolution(version, canonical_size=32, seed=5)
    whole = augment(images, keys, epoch=2)
    parts = [augment(images[i::3], keys[i::3], epoch=2) for i in range(3)]
    for i, part in enumerate(parts):
        assert torch.equal(part, whole[i::3])
    for image, key, view in zip(images, keys, whole, strict=True):
        size = int(augment.sizes(key[None], epoch=2))
        assert torch.equal(view, down_up(image[None], size)[0])
    assert not torch.equal(augment(images, keys, epoch=3), whole)


def test_multi_resolution_refuses_what_it_was_not_made_for() -> None:
    with pytest.raises(ValueError, match="'v4' is unknown; choose v1, v2 or v3"):
        MultiResolution("v4")
    with pytest.raises(ValueError, match="multiple of 16"):
        MultiResolution("v1", canonical_size=100)
    with pytest.raises(ValueError, match="28 x 28 px, expected 112 x 112"):
        MultiResolution("v1")(to_nchw(picture(28, 28)), torch.zeros(1, dtype=torch.int64), 0)
    with pytest.raises(ValueError, match="pass one per image"):
        MultiResolution("v1")(to_nchw(picture(112, 112)), torch.arange(2), 0)
    with pytest.raises(ValueError, match=r"convert them with keys\.long"):
        flip_mask(torch.zeros(2, dtype=torch.int32), seed=0, epoch=0)
