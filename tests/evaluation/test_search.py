from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from btnet.evaluation import search as search_module
from btnet.evaluation.search import Neighbours, search, search_sharded
from gloo import run_on_ranks

Array = npt.NDArray[Any]


def signs(rng: np.random.Generator, count: int, size: int = 4) -> Array:
    """Corners of a cube of 4 (or 16) dimensions: exact cosines, and many ties."""
    return rng.choice([-1.0, 1.0], (count, size))


def brute_force(gallery: Array, probes: Array, k: int) -> tuple[Array, Array]:
    """Every score, sorted; of equals the lower row first."""
    lengths = np.linalg.norm(probes, axis=1)[:, None] * np.linalg.norm(gallery, axis=1)
    scores = probes @ gallery.T / lengths
    indices = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, indices, axis=1), indices


def assert_equal(found: Neighbours, expected: tuple[Array, Array]) -> None:
    np.testing.assert_array_equal(found.indices, expected[1])
    np.testing.assert_array_equal(found.scores, expected[0])


@given(st.integers(0, 100_000), st.integers(1, 20), st.integers(1, 5), st.integers(0, 9))
@settings(max_examples=100)
def test_search_equals_brute_force_whatever_the_blocks(
    seed: int, block: int, tile: int, max_candidates: int
) -> None:
    rng = np.random.default_rng(seed)
    gallery = signs(rng, int(rng.integers(1, 60))) * rng.choice([1, 2], (1, 1))
    probes, k = signs(rng, int(rng.integers(1, 12))), int(rng.integers(1, len(gallery) + 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search_module, "_BLOCK_ROWS", block)
        patch.setattr(search_module, "_TILE_ROWS", tile)
        patch.setattr(search_module, "_MAX_CANDIDATES", max_candidates)
        assert_equal(search(gallery, probes, k=k), brute_force(gallery, probes, k))


def test_a_gallery_that_gets_better_and_better_is_searched_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    # every row is a candidate when it comes
    angles = np.linspace(np.pi, 0.1, 3000)
    gallery = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    monkeypatch.setattr(search_module, "_MAX_CANDIDATES", 100)
    found = search(gallery, np.array([[1.0, 0.0]] * 5), k=3)
    assert found.indices.tolist() == [[2999, 2998, 2997]] * 5


def test_a_memory_map_of_half_precision_is_searched_in_single(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gallery = np.lib.format.open_memmap(tmp_path / "gallery.npy", "w+", np.float16, (500, 16))
    gallery[:] = 10 * rng.normal(size=(500, 16))
    probes = rng.normal(size=(7, 16))
    found = search(gallery, probes, k=5)
    scores, indices = brute_force(gallery.astype(np.float64), probes, 5)
    np.testing.assert_array_equal(found.indices, indices)
    np.testing.assert_allclose(found.scores, scores, atol=1e-6)
    assert found.scores.dtype == np.float32


def on_rank(rank: int, world_size: int) -> list[tuple[Any, Any]]:
    answers = []
    for num_gallery, k in ((50, 7), (3, 3)):
        rng = np.random.default_rng(num_gallery)
        gallery, probes = signs(rng, num_gallery), signs(rng, 9)
        # uneven shards; of the second gallery the last rank has nothing
        bounds = np.linspace(0, num_gallery**0.5, world_size + 1) ** 2
        start, stop = np.minimum(np.ceil(bounds[rank : rank + 2]), num_gallery).astype(int)
        found = search_sharded(gallery[start:stop], probes, k=k)
        answers.append((found.scores, found.indices))
    return answers


def test_several_processes_find_what_one_finds() -> None:
    by_rank = run_on_ranks(on_rank, 3, 3)
    for case, (num_gallery, k) in enumerate(((50, 7), (3, 3))):
        rng = np.random.default_rng(num_gallery)
        gallery, probes = signs(rng, num_gallery), signs(rng, 9)
        for answers in by_rank:
            assert_equal(Neighbours(*answers[case]), brute_force(gallery, probes, k))


def test_one_process_needs_no_group() -> None:
    rng = np.random.default_rng(0)
    gallery, probes = signs(rng, 30), signs(rng, 5)
    assert_equal(search_sharded(gallery, probes, k=4), brute_force(gallery, probes, 4))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_what_the_cpu_finds() -> None:
    rng = np.random.default_rng(0)
    gallery, probes = signs(rng, 20_000, 16), signs(rng, 300, 16)
    assert_equal(search(gallery, probes, k=20, device="cuda"), brute_force(gallery, probes, 20))


def test_bad_input_is_answered_with_what_is_expected() -> None:
    gallery, probes = np.ones((6, 4)), np.ones((2, 4))
    with pytest.raises(ValueError, match="k = 7 neighbours of 6 gallery rows"):
        search(gallery, probes, k=7)
    with pytest.raises(ValueError, match="k = 20 neighbours of 0 gallery rows"):
        search(gallery[:0], probes)
    with pytest.raises(ValueError, match="k = 0 neighbours"):
        search_sharded(gallery, probes, k=0)
    with pytest.raises(ValueError, match=r"gallery has shape \[6, 4\] and probes \[2, 3\]"):
        search(gallery, probes[:, :3], k=1)
    with pytest.raises(ValueError, match=r"probes \[0, 4\].*at least one probe"):
        search(gallery, probes[:0], k=1)
    gallery[5, 1] = np.nan
    with pytest.raises(ValueError, match="gallery: the embedding in row 5 is NaN"):
        search(gallery, probes, k=1)
