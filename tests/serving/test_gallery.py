"""Gallery files, joining and searching, against plain NumPy; other trunks and damage are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from btnet.serving.gallery import Gallery, search_galleries


def gallery(size: int = 50, trunk: str = "a" * 64, seed: int = 0) -> Gallery:
    rng = np.random.default_rng(seed)
    embeddings = (rng.normal(size=(size, 8)) * rng.uniform(1, 9, (size, 1))).astype(np.float32)
    names = tuple(f"{seed}/größe {row}.png" for row in range(size))
    return Gallery(embeddings, names, rng.choice([7, 14, 112], size), trunk)


def test_a_file_gives_back_what_was_saved_and_needs_no_pickle(tmp_path: Path) -> None:
    for saved in (gallery(), gallery(0)):
        saved.save(tmp_path / "g.npz")
        with np.load(tmp_path / "g.npz", allow_pickle=False) as file:
            assert {key: file[key].dtype for key in file.files}["embeddings"] == np.float32
        loaded = Gallery.load(tmp_path / "g.npz")
        np.testing.assert_array_equal(loaded.embeddings, saved.embeddings)
        np.testing.assert_array_equal(loaded.resolutions, saved.resolutions)
        assert (loaded.names, loaded.trunk_fingerprint) == (saved.names, saved.trunk_fingerprint)
    assert [path.name for path in tmp_path.iterdir()] == ["g.npz"]


def test_search_is_exact_and_of_equals_the_earlier_comes_first() -> None:
    faces, probes = gallery(200), gallery(7, seed=3).embeddings
    twice = {"one": faces, "two": faces}
    cosine = (probes @ faces.embeddings.T) / np.linalg.norm(probes, axis=1)[:, None]
    cosine /= np.linalg.norm(faces.embeddings, axis=1)
    for probe_matches, row in zip(search_galleries(twice, probes, k=6), cosine, strict=True):
        best = np.argsort(-row)[:3]
        assert [match.name for match in probe_matches] == [faces.names[i] for i in best for _ in (0, 1)]
        assert [match.gallery for match in probe_matches] == ["one", "two"] * 3
        np.testing.assert_allclose(
            [match.score for match in probe_matches], np.repeat(row[best], 2), atol=1e-5
        )
    assert len(faces.search(probes, k=999)[0]) == 200


def test_galleries_and_probes_of_another_trunk_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"y.npz: embedded by trunk bbbbbbbbbbbb, x.npz is of trunk aaaaaaaaaaaa"
    ):
        search_galleries({"x.npz": gallery(), "y.npz": gallery(trunk="b" * 64)}, np.ones((1, 8), np.float32))
    with pytest.raises(ValueError, match="scores across trunks mean nothing"):
        gallery().check_trunk("b" * 64)
    with pytest.raises(ValueError, match="embed both with one model"):
        gallery().search(np.ones((1, 5), np.float32))


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    with pytest.raises(FileNotFoundError, match="no such gallery"):
        Gallery.load(path)
    gallery().save(path)
    whole = path.read_bytes()
    for content in (b"", b"not a zip", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"g\.npz: not a whole gallery file"):
            Gallery.load(path)
    np.savez(path, embeddings=np.ones((2, 3)))
    with pytest.raises(ValueError, match="not a whole gallery file"):
        Gallery.load(path)
    np.savez(path, embeddings=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="not a whole gallery file"):
        Gallery.load(path)
    with pytest.raises(ValueError, match=r"name the gallery file \*\.npz"):
        gallery().save(tmp_path / "g.npy")
    with pytest.raises(ValueError, match=r"embedding of 0/größe 0\.png is not finite"):
        Gallery(np.full((1, 2), np.nan, np.float32), ("0/größe 0.png",), np.array([7]), "a")
