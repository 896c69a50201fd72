"""Named embeddings of one trunk's space: made, kept in a file, searched alone or together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btnet import __version__
from btnet.evaluation.cosine import unit_normalise
from btnet.files.atomic import replacing
from btnet.files.npz import read_npz

__all__ = ["Gallery", "Match", "check_ending", "search_galleries"]

_FORMAT_VERSION = 1
_ARRAYS = ("embeddings", "names", "resolutions", "header")
_BLOCK_ROWS = 65536


@dataclass(frozen=True)
class Match:
    """A gallery face that a probe resembles.

    Attributes:
        name: of the face in the gallery.
        score: cosine, in [-1, 1].
        resolution: in px, at which the gallery face was embedded.
        gallery: which one it lies in, where several were searched (`search_galleries`).
    """

    name: str
    score: float
    resolution: int
    gallery: str = ""


@dataclass(frozen=True, eq=False)
class Gallery:
    """Faces one can search among.

    Attributes:
        embeddings: float32 [N, D], not normalised.
        names: of the faces, [N].
        resolutions: at which they were embedded, in px, int64 [N].
        trunk_fingerprint: of the trunk whose space they lie in. Its branches embed into the same space, so
            galleries of one trunk may be mixed, whichever branches they were made with.
    """

    embeddings: NDArray[np.float32]
    names: tuple[str, ...]
    resolutions: NDArray[np.int64]
    trunk_fingerprint: str

    def __post_init__(self) -> None:
        """Refuse what does not fit together.

        Raises:
            ValueError: if there is not one name and resolution per embedding, or an embedding is not finite.
        """
        shape = self.embeddings.shape
        if len(shape) != 2 or len(self.names) != shape[0] or self.resolutions.shape != shape[:1]:
            raise ValueError(
                f"gallery of embeddings {list(shape)}, {len(self.names)} names and resolutions "
                f"{list(self.resolutions.shape)}: expected one of each per face"
            )
        broken = ~np.isfinite(self.embeddings).all(axis=1)
        if broken.any():
            raise ValueError(f"the embedding of {self.names[int(broken.argmax())]} is not finite")

    def __len__(self) -> int:
        return len(self.names)

    def save(self, path: str | Path) -> None:
        """Write an .npz without pickle: embeddings, names, resolutions, and a header in JSON.

        Raises:
            FileNotFoundError: if its folder does not exist.
            ValueError: for another ending.
        """
        path = Path(path)
        check_ending(path)
        header = {
            "format_version": _FORMAT_VERSION,
            "trunk_fingerprint": self.trunk_fingerprint,
            "btnet_version": __version__,
        }
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(
                file,
                embeddings=self.embeddings,
                # UTF-8 in one run of bytes: NumPy's own strings are as long as the longest, four bytes a letter.
                names=np.frombuffer("\0".join(self.names).encode(errors="surrogateescape"), np.uint8),
                resolutions=self.resolutions,
                header=np.frombuffer(json.dumps(header).encode(), np.uint8),
            )

    @classmethod
    def load(cls, path: str | Path) -> Gallery:
        """Read a file that `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is damaged, of another kind, or of a newer format.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path}: no such gallery; make one with `btnet embed FOLDER -o {path.name}`"
            )
        try:
            arrays = read_npz(path, _ARRAYS)
            header: dict[str, Any] = json.loads(arrays["header"].tobytes())
            names = arrays["names"].tobytes().decode(errors="surrogateescape")
            trunk, version = header["trunk_fingerprint"], header["format_version"]
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise ValueError(
                f"{path}: not a whole gallery file of `btnet embed` ({error}); make it again"
            ) from error
        if version != _FORMAT_VERSION:
            raise ValueError(f"{path}: gallery format {version}, this version reads {_FORMAT_VERSION}")
        embeddings = arrays["embeddings"]
        if embeddings.dtype != np.float32 or arrays["resolutions"].dtype != np.int64:
            raise ValueError(
                f"{path}: embeddings are {embeddings.dtype}, expected float32; make the file again"
            )
        try:
            split = tuple(names.split("\0")) if len(embeddings) else ()
            return cls(embeddings, split, arrays["resolutions"], str(trunk))
        except ValueError as error:
            raise ValueError(f"{path}: {error}; make the file again") from error

    def check_trunk(self, fingerprint: str, name: str = "gallery", other: str = "the probes are") -> None:
        """Refuse to compare with embeddings of another trunk.

        Args:
            fingerprint: of the trunk the others were made by.
            name: how to call this gallery in the message.
            other: how to call the others, with a verb.

        Raises:
            ValueError: if it is not this gallery's trunk.
        """
        if fingerprint != self.trunk_fingerprint:
            raise ValueError(
                f"{name}: embedded by trunk {self.trunk_fingerprint[:12]}, {other} of trunk "
                f"{fingerprint[:12]}; scores across trunks mean nothing: embed both with one model"
            )

    def search(self, probes: NDArray[np.float32], k: int = 5) -> list[list[Match]]:
        """The k most similar faces of each probe, by exact comparison with all.

        For millions of faces see `btnet.evaluation.search`.

        Args:
            probes: [P, D] of the same trunk (see `check_trunk`), of any length.
            k: at most; fewer where the gallery is smaller.

        Returns:
            For each probe, best first; of equal scores the earlier face comes first.

        Raises:
            ValueError: if D differs, k is below 1, or a probe is not finite.
        """
        if probes.ndim != 2 or probes.shape[1] != self.embeddings.shape[1]:
            raise ValueError(
                f"probes have shape {list(probes.shape)}, the gallery's embeddings {self.embeddings.shape[1]} "
                "values; embed both with one model"
            )
        if k < 1 or not np.isfinite(probes).all():
            raise ValueError(f"k = {k}" if k < 1 else "a probe's embedding is not finite")
        unit_PD = unit_normalise(probes)
        best: list[list[Match]] = []
        scores_PN = np.empty((len(probes), len(self)), np.float32)
        for start in range(0, len(self), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            scores_PN[:, block] = unit_PD @ unit_normalise(self.embeddings[block]).T
        for scores_N in scores_PN:
            order = np.argsort(-scores_N, kind="stable")[:k]
            best.append([self._match(int(row), float(scores_N[row])) for row in order])
        return best

    def _match(self, row: int, score: float) -> Match:
        return Match(self.names[row], score, int(self.resolutions[row]))


def search_galleries(
    galleries: Mapping[str, Gallery], probes: NDArray[np.float32], k: int = 5
) -> list[list[Match]]:
    """The k most similar faces of each probe among all faces of several galleries of one trunk.

    Args:
        galleries: at least one, by what its matches are to call it.
        probes: as in `Gallery.search`.
        k: at most, over all galleries.

    Returns:
        For each probe, best first; of equal scores the face of the earlier gallery comes first.

    Raises:
        ValueError: if they are of different trunks, or as `Gallery.search`.
    """
    first = next(iter(galleries))
    for name, gallery in galleries.items():
        gallery.check_trunk(galleries[first].trunk_fingerprint, name, f"{first} is")
    found = [
        [[replace(match, gallery=name) for match in matches] for matches in gallery.search(probes, k)]
        for name, gallery in galleries.items()
    ]
    return [
        sorted((match for matches in of_probe for match in matches), key=lambda match: -match.score)[:k]
        for of_probe in zip(*found, strict=True)
    ]


def check_ending(path: Path) -> None:
    """Refuse a gallery file of another name than *.npz, before it takes an hour to fill.

    Raises:
        ValueError: naming it.
    """
    if path.suffix != ".npz":
        raise ValueError(f"{path}: name the gallery file *.npz")
