"""One run over IJB: embed what the pairs of resolutions need, pool and score, as entries of a result file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from btnet.evaluation.summary import GainBaselines, gains
from btnet.evaluation.templates import TemplateOptions
from btnet.public_sets.ijb import IJB, TemplateList, TemplatePairs
from btnet.serving.face_model import FaceModel
from btnet.serving.ijb import Seen, embed_ijb, score_templates
from btnet.serving.verify import pair_label

__all__ = ["IjbProtocol", "IjbTasks", "add_ijb_gains", "run_ijb"]

# Where the paper reads gains off (Tables 10 and 11).
_GAIN_FAR, _GAIN_FPIR = 1e-4, 0.1


@dataclass(frozen=True)
class IjbProtocol:
    """What the numbers mean.

    Attributes:
        options: how images count within a template.
        nearest: read TAR off at the nearest FAR, as insightface does.
        alignment: one of `btnet.serving.ijb.ALIGNMENTS`.
    """

    options: TemplateOptions
    nearest: bool
    alignment: str

    def described(self) -> dict[str, Any]:
        """As a result file has it."""
        return {
            "templates": asdict(self.options),
            "label": self.options.label,
            "far": "nearest" if self.nearest else "not above the target",
            "alignment": self.alignment,
            "aggregation": "of each image, f at the first resolution plus f of its mirror at the second",
        }


@dataclass(frozen=True)
class IjbTasks:
    """The lists of the set; None: this protocol is left out.

    Attributes:
        ijb: images and templates.
        pairs: of the 1:1 protocol.
        searches: galleries and probes of the 1:N protocol.
    """

    ijb: IJB
    pairs: TemplatePairs | None
    searches: tuple[list[TemplateList], TemplateList] | None


def run_ijb(
    model: FaceModel,
    tasks: IjbTasks,
    pairs: Sequence[tuple[int, int]],
    protocol: IjbProtocol,
    features: Path,
    *,
    settle: Callable[[dict[int, str]], object],
    batch_size: int,
    num_workers: int,
    progress: Callable[[int], None],
) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """Embed all images with one model and score each pair of resolutions.

    Args:
        model: whose networks embed.
        tasks: what is scored.
        pairs: of resolutions: of the images, and of their mirror images.
        protocol: how.
        features: folder for the embeddings; what lies there already is not embedded again.
        settle: told position -> reason of the images that could not be read, before anything is scored.
        batch_size: images per forward pass.
        num_workers: threads that read and align images.
        progress: called with the number of images done.

    Returns:
        One entry per pair; and the images that could not be read.

    Raises:
        ValueError: as `embed_ijb` and `score_templates`, or whatever `settle` raises.
    """
    views = dict.fromkeys(Seen(first, False) for first, _ in pairs)
    if protocol.options.flip:
        views |= dict.fromkeys(Seen(second, True) for _, second in pairs)
    files, lost = embed_ijb(
        model,
        tasks.ijb,
        views,
        features,
        alignment=protocol.alignment,
        interpolation=model.views,
        batch_size=batch_size,
        num_workers=num_workers,
        progress=progress,
    )
    settle(lost)
    entries = []
    for pair in pairs:
        scored = score_templates(
            files,
            pair,
            tasks.ijb,
            protocol.options,
            tasks.pairs,
            tasks.searches,
            sorted(lost),
            nearest=protocol.nearest,
        )
        entries.append({"model": model.name, "pair": list(pair), **scored})
    return entries, lost


def add_ijb_gains(entries: Sequence[dict[str, Any]], baselines: GainBaselines) -> None:
    """Add gains at FAR 1e-4 and FPIR 0.1 (Tables 10, 11) to entries whose baselines are among them."""
    for pair in dict.fromkeys(tuple(entry["pair"]) for entry in entries):
        of_pair = {entry["model"]: entry for entry in entries if tuple(entry["pair"]) == pair}
        for name, path in (
            ("tar_at_far", ("tar_at_far", f"{_GAIN_FAR:g}")),
            ("tpir", ("ijb_1n", "tpir", f"{_GAIN_FPIR:g}")),
            ("tpir_standard", ("ijb_1n_standard", "tpir", f"{_GAIN_FPIR:g}")),
        ):
            numbers = {model: _dig(entry, path) for model, entry in of_pair.items() if path[0] in entry}
            for model, value in gains(pair_label(pair), numbers, baselines).items():
                of_pair[model].setdefault("gain", {})[name] = value


def _dig(entry: Any, path: Sequence[str]) -> float | None:
    for key in path:
        entry = entry[key]
    return None if entry is None else float(entry)
