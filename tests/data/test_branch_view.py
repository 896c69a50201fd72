import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from btnet.data.alignment_jitter import AlignmentJitter
from btnet.data.degradation import Degradation
from btnet.data.views import BranchView
from btnet.images.resize import resize
from btnet.serving.alignment import template
from btnet.serving.crops import fit_crops
from btnet.serving.selection import select
from btnet.synthetic.faces import SyntheticFaces

FACES = SyntheticFaces(4, 3)
IMAGES = torch.from_numpy(np.stack([FACES[i][0] for i in range(12)])).permute(0, 3, 1, 2)
KEYS = torch.arange(12) * 5
RESOLUTIONS = (112, 56, 28, 14, 7)


@given(
    resolution=st.sampled_from(RESOLUTIONS[1:]),
    keys=st.lists(st.integers(0, 2**40), min_size=1, max_size=20),
    epoch=st.integers(0, 99),
    share=st.floats(0, 1),
)
def test_sizes_are_those_that_serving_sends_to_the_branch(
    resolution: int, keys: list[int], epoch: int, share: float
) -> None:
    sizes = BranchView(resolution, size_band=share, seed=1).sizes(torch.tensor(keys), epoch).tolist()
    for size in sizes:
        assert resolution / 2 < size <= resolution
        assert select(size, size, RESOLUTIONS) == resolution


@pytest.mark.parametrize("resolution", [28, 14, 7])
def test_every_size_of_the_band_is_drawn_as_often(resolution: int) -> None:
    sizes = BranchView(resolution, size_band=1.0, seed=1).sizes(torch.arange(40_000), 2)
    counts = torch.bincount(sizes)
    assert counts.nonzero().flatten().tolist() == list(range(resolution // 2 + 1, resolution + 1))
    counts = counts[counts > 0]
    assert float((counts / 40_000 * len(counts) - 1).abs().max()) < 0.08


def test_a_view_is_what_the_recogniser_makes_of_a_face_of_that_size() -> None:
    view = BranchView(14, size_band=1.0, seed=1, interpolation="area")
    found, sizes = view(IMAGES, KEYS, 4), view.sizes(KEYS, 4).tolist()
    assert len(set(sizes)) > 3
    for image, size, made in zip(IMAGES, sizes, found, strict=True):
        native = resize(image.permute(1, 2, 0).numpy(), size, "area")
        [expected] = fit_crops([native], 14, "area")
        np.testing.assert_array_equal(made.permute(1, 2, 0).numpy(), expected)


def test_without_any_switch_it_is_the_face_at_the_branchs_size() -> None:
    assert torch.equal(BranchView(14)(IMAGES, KEYS, 4), resize(IMAGES, 14))


def test_changes_come_first_and_do_not_depend_on_the_batch() -> None:
    jitter = AlignmentJitter(0.03, template, seed=1)
    degrade = Degradation(0.5, resolution=14, seed=1)
    view = BranchView(14, size_band=0.5, seed=1, changes=[jitter, degrade])
    plain = BranchView(14, size_band=0.5, seed=1)
    together = view(IMAGES, KEYS, 4)
    assert torch.equal(together, plain(degrade(jitter(IMAGES, KEYS, 4), KEYS, 4), KEYS, 4))
    alone = torch.cat([view(IMAGES[i : i + 1], KEYS[i : i + 1], 4) for i in range(12)])
    assert torch.equal(together, alone)
    assert not torch.equal(together, view(IMAGES, KEYS, 5))


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="size_band="):
        BranchView(14, size_band=share)
