"""`calibration.json` of a model folder: its thresholds, what they were measured on, and the verdicts they give."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any, Final

from btnet.calibration.thresholds import Threshold
from btnet.files.atomic import replacing
from btnet.files.text import read_json
from btnet.model_folder.model_files import is_listed, record_files

__all__ = ["FMRS", "NAME", "Calibration", "Verdict", "read_calibration"]

NAME: Final = "calibration.json"
FORMAT_VERSION: Final = 1
FMRS: Final = (1e-2, 1e-3, 1e-4)
DEFAULT_FMR: Final = 1e-3
MIN_TAR: Final = 0.5
"""Where a smaller share of the matched pairs is above the threshold, a score below it does not say "different"."""


@dataclass(frozen=True)
class Verdict:
    """What a model says about two faces.

    Attributes:
        same: None where neither can be said.
        score: cosine of the embeddings.
        threshold: above which faces of these sizes match; None where there is none.
        fmr: false match rate that the threshold was measured at; None where it was not measured on identities.
        sizes: of the two faces in px.
        calibrated: whether thresholds were measured on people who are known to differ.
    """

    same: bool | None
    score: float
    threshold: float | None
    fmr: float | None
    sizes: tuple[int, int]
    calibrated: bool

    @property
    def answer(self) -> str:
        """The answer: "same", "different" or "too small to tell"."""
        return "too small to tell" if self.same is None else ("same" if self.same else "different")

    def __str__(self) -> str:
        rate = "provisional" if self.fmr is None else f"false match rate {self.fmr:g}"
        limit = "" if self.threshold is None else f", threshold {self.threshold:.3f} ({rate})"
        return f"{self.answer}: {self.sizes[0]} and {self.sizes[1]} px, cosine {self.score:.3f}{limit}"


@dataclass(frozen=True)
class Calibration:
    """Thresholds of one model, served in one way.

    Attributes:
        networks: fingerprint of the network for each resolution.
        serving: options of the recogniser.
        faces: "name", "fingerprint", "num_faces", "num_people" (None where nobody says: then those that the trunk tells
            apart were taken for different people), and "small": "shrunk" or "photographed small".
        thresholds: of pairs of sizes.
    """

    networks: dict[str, str]
    serving: dict[str, Any]
    faces: dict[str, Any]
    thresholds: tuple[Threshold, ...]

    @property
    def is_calibrated(self) -> bool:
        """Whether it was measured on faces whose identities are known."""
        return self.faces["num_people"] is not None

    def threshold(self, sizes: tuple[int, int], fmr: float) -> Threshold | None:
        """The threshold of two faces of these sizes in px: the highest of those of the nearest sizes measured.

        None where it is not measurable, as for a face smaller than all that were measured.

        Raises:
            ValueError: for a rate that was not measured.
        """
        known = {each.sizes: each for each in self.thresholds if each.fmr == fmr}
        if not known:
            rates = ", ".join(f"{rate:g}" for rate in dict.fromkeys(each.fmr for each in self.thresholds))
            raise ValueError(f"false match rate {fmr:g} was not measured; choose one of {rates}")
        anchors = sorted({size for pair in known for size in pair})
        if min(sizes) < anchors[0]:
            return None
        near = [
            (max(a for a in anchors if a <= size), min(a for a in anchors if a >= size))
            for size in (min(size, anchors[-1]) for size in sizes)
        ]
        corners = [known.get((min(pair), max(pair))) for pair in product(*near)]
        measured = {
            each.threshold: each for each in corners if each is not None and each.threshold is not None
        }
        return measured[max(measured)] if all(each in measured.values() for each in corners) else None

    def verdict(self, score: float, sizes: tuple[int, int], fmr: float | None = None) -> Verdict:
        """Judge the cosine of two faces of these sizes in px; errors as `threshold`.

        `fmr` None takes `DEFAULT_FMR`, or the next larger rate that is measurable.
        """
        rates = (
            sorted({each.fmr for each in self.thresholds if each.fmr >= DEFAULT_FMR})
            if fmr is None
            else [fmr]
        )
        found = next((each for rate in rates if (each := self.threshold(sizes, rate))), None)
        if found is None or found.threshold is None:
            return Verdict(None, score, None, None, sizes, self.is_calibrated)
        same: bool | None = score > found.threshold
        if not same and (found.tar is None or found.tar < MIN_TAR):
            same = None
        rate = found.fmr if self.is_calibrated else None
        return Verdict(same, score, found.threshold, rate, sizes, self.is_calibrated)

    def false_positive_rate(self, sizes: tuple[int, int], fmr: float, num_people: int) -> tuple[float, str]:
        """FPIR of a search among so many people at a pair's threshold, which lies far above the pair's own rate.

        Returns:
            The rate, "measured" (in a gallery of at least so many people) or "bounded by N x FMR".
        """
        found = self.threshold(sizes, fmr)
        rates = [rate for size, rate in (found.fpir if found else {}).items() if size >= num_people]
        return (min(rates), "measured") if rates else (min(1.0, num_people * fmr), "bounded by N x FMR")

    def save(self, folder: Path) -> None:
        """Write the file, whole or not at all, and list it in the model's manifest."""
        with replacing(folder / NAME) as temporary:
            temporary.write_text(
                json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=1) + "\n"
            )
        record_files(folder, [folder / NAME])


def read_calibration(folder: Path, networks: dict[str, str]) -> Calibration | None:
    """The calibration of the model in a folder, whose networks have these fingerprints; None where it has none.

    Raises:
        ValueError: if the file is damaged, of another format, or of another model.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    is_listed(folder, path)
    document = read_json(path)
    try:
        if document.pop("format_version") != FORMAT_VERSION:
            raise ValueError(f"not of format {FORMAT_VERSION}")
        for each in document["thresholds"]:
            each["sizes"], each["fpir"] = (
                tuple(each["sizes"]),
                {int(n): rate for n, rate in each["fpir"].items()},
            )
            each["interval"] = each["interval"] and tuple(each["interval"])
        document["thresholds"] = tuple(Threshold(**each) for each in document["thresholds"])
        found = Calibration(**document)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path}: not a calibration ({error}); run `btnet calibrate` again") from error
    if other := sorted(r for r in {*networks, *found.networks} if found.networks.get(r) != networks.get(r)):
        raise ValueError(
            f"{path}: of another model, whose network for {', '.join(other)} px differs; run `btnet calibrate` again"
        )
    return found
