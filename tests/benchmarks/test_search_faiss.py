from __future__ import annotations

import sys

import numpy as np
import pytest

from btnet.evaluation.search import search
from search_faiss import build_index, search_index


def test_without_faiss_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(ModuleNotFoundError, match="pip install faiss-cpu"):
        build_index(np.ones((6, 4)), factory="Flat")


def test_faiss_finds_what_exact_search_finds() -> None:
    pytest.importorskip("faiss", reason="the optional faiss is not installed")
    rng = np.random.default_rng(0)
    gallery, probes = rng.normal(size=(2000, 16)), rng.normal(size=(50, 16))
    exact = search(gallery, probes, k=5)
    for factory, parameters in (("Flat", ""), ("IVF16,Flat", "nprobe=16")):
        found = search_index(build_index(gallery, factory=factory), probes, k=5, parameters=parameters)
        np.testing.assert_array_equal(found.indices, exact.indices)
        np.testing.assert_allclose(found.scores, exact.scores, atol=1e-5)
    sparse = search_index(build_index(gallery, factory="IVF256,Flat"), probes, k=100, parameters="nprobe=1")
    assert (sparse.scores[sparse.indices == -1] == -np.inf).all()
    assert (sparse.indices == -1).any()
    with pytest.raises(ValueError, match="faiss index 'Nonsense' over 2000 rows of 16"):
        build_index(gallery, factory="Nonsense")
    index = build_index(gallery, factory="Flat")
    with pytest.raises(ValueError, match="faiss parameters 'nonsense=1'"):
        search_index(index, probes, parameters="nonsense=1")
    with pytest.raises(ValueError, match="k = 2001 neighbours of 2000"):
        search_index(index, probes, k=2001)
