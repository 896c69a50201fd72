"""Targets: galleries, native sets and the header of a teacher cache."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from btnet.serving.gallery import Gallery
from btnet.training.teacher_cache_file import CacheContents, CacheFiles
from btnet_lab.native_test.native_set import NativeSet
from fuzzing.mutators import damage, damage_json, in_archive
from fuzzing.target import Change, Target, WrongAnswerError, plain


def hostile_galleries(whole: bytes) -> dict[str, bytes]:
    """Galleries that announce far more than they hold, or hold a pickle."""
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        huge, {"descr": "<f4", "fortran_order": False, "shape": (1 << 38, 4)}
    )
    pickled = io.BytesIO()
    np.lib.format.write_array(pickled, np.array([{}], dtype=object), allow_pickle=True)
    return {
        "announces": _with_embeddings(whole, huge.getvalue(), zipfile.ZIP_STORED),
        "pickled": _with_embeddings(whole, pickled.getvalue(), zipfile.ZIP_STORED),
    }


def bomb(whole: bytes) -> bytes:
    """A gallery of half a megabyte with half a gigabyte of embeddings in it."""
    content = io.BytesIO()
    np.lib.format.write_array(content, np.zeros((128 << 20, 1), np.float32))
    return _with_embeddings(whole, content.getvalue(), zipfile.ZIP_DEFLATED)


def _with_embeddings(whole: bytes, content: bytes, method: int) -> bytes:
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(changed, "w", method) as new:
        for info in old.infolist():
            new.writestr(info.filename, content if info.filename == "embeddings.npy" else old.read(info))
    return changed.getvalue()


def _make_galleries(folder: Path) -> None:
    (folder / "benign").mkdir(exist_ok=True)
    embeddings = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    names = tuple(f"größe {i}.png" for i in range(5))
    path = folder / "benign" / "gallery.npz"
    Gallery(embeddings, names, np.array([7, 7, 14, 112, 112]), "t" * 8).save(path)
    for name, content in hostile_galleries(path.read_bytes()).items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "gallery.npz").write_bytes(content)


def _read_gallery(folder: Path) -> Any:
    gallery = Gallery.load(folder / "gallery.npz")
    gallery.check_trunk("t" * 8, str(folder))
    probes = np.zeros((1, gallery.embeddings.shape[1]), np.float32)
    if len(gallery.search(probes)[0]) != min(5, len(gallery)) or len(gallery.names) != len(
        gallery.embeddings
    ):
        raise WrongAnswerError("a gallery that cannot be searched")
    return plain(gallery.embeddings), gallery.names, plain(gallery.resolutions)


def _make_native(folder: Path) -> None:
    (folder / "native").mkdir(exist_ok=True)
    chance = np.random.default_rng(0)
    faces = chance.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    sizes = np.array([5, 7])
    NativeSet(
        gallery=faces,
        probes=[faces[i, :size, :size] for i, size in enumerate(sizes)],
        issame=np.array([True, False]),
        boxes=np.stack([sizes, sizes], axis=1),
        pixel_px=sizes.astype(np.float64),
        optical_px=sizes - 0.5,
        about={"seed": 0},
    ).save(folder / "native" / "native.npz")


def _read_native(folder: Path) -> Any:
    found = NativeSet.load(folder / "native.npz")
    if not len(found.gallery) == len(found.probes) == len(found.issame):
        raise WrongAnswerError(f"{len(found.probes)} probes for {len(found.issame)} pairs")
    arrays = (found.gallery, *found.probes, found.issame, found.boxes, found.pixel_px, found.optical_px)
    return tuple(plain(array) for array in arrays)


def _judge_native(original: Any, found: Any, change: Change) -> None:
    """Another picture is another set, but sizes and labels have their kinds."""
    for before, after in zip(original[-4:], found[-4:], strict=True):
        if before[0] != after[0] or before[1][1:] != after[1][1:]:
            raise WrongAnswerError(f"{after[:2]} in the place of {before[:2]}")


def _accept(original: Any, found: Any, change: Change) -> None:
    """A file with right checksums holds what it holds."""


def _contents() -> CacheContents:
    return CacheContents("t", "d", 70, 16, "float32", "contiguous", "bilinear", {"layer2.0": (2, 4, 4)})


def _make_cache(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder / "cache", ignore_errors=True)
    CacheFiles.create(folder / "cache", _contents())


def _read_cache(folder: Path) -> Any:
    cache = CacheFiles(folder, _contents())
    return cache.contents.num_images, plain(cache.rows("layer2.0")), plain(cache.done())


TARGETS = (
    Target(
        "native set", _make_native, _read_native,
        limit="contents of an archive that was made anew with right checksums", judge=_judge_native,
        mutators=(damage, in_archive(damage)),
    ),
    Target(
        "gallery", _make_galleries, _read_gallery,
        limit="contents of an archive that was made anew with right checksums", judge=_accept,
        mutators=(damage, in_archive(damage), in_archive(damage_json)),
    ),
    Target(
        "teacher cache", _make_cache, _read_cache,
        limit="values of the features and which blocks are done: raw numbers without a checksum", judge=_accept,
        mutators=(damage, damage_json),
    ),
)  # fmt: skip
