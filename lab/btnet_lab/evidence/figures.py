"""The data of the paper's figures, measured on what an evidence run has trained: numbers alone, a file for each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from btnet.backbones.backbone import Backbone
from btnet.backbones.trunk_file import load_trunk, trunk_file
from btnet.data.bin_sets import read_bin
from btnet.evaluation.verification import fold_accuracies
from btnet.files.atomic import replacing
from btnet.files.digest import sha256
from btnet.serving.face_model import FaceModel
from btnet.serving.loading import load_model
from btnet_lab.analysis.architecture import architecture
from btnet_lab.analysis.cost import model_costs
from btnet_lab.analysis.sample_faces import evenly_spaced
from btnet_lab.analysis.upsampling_error import down_up_error, error_bound
from btnet_lab.evidence.agreement import agreement, cosines
from btnet_lab.evidence.figure_maps import maps_of_rendered_face
from btnet_lab.evidence.plan import RESOLUTIONS
from btnet_lab.evidence.record import Record, read_records
from btnet_lab.report.verification_scores import pair_key

FIGURES: Final = "figures"
"""Folder of the files, below that of the results."""

_FORMAT = 1
_TABLE = "table2"
_NUM_FACES = 100
_LARGEST_PX = 128  # of the map of selections
_INTERPOLATIONS = ("bilinear", "area", "bicubic")
_BETWEEN = (80, 56, 40, 28, 20, 14, 10, 7)


@dataclass(frozen=True)
class Material:
    """What the figures are measured on.

    Attributes:
        results: folder of the result files.
        runs: folder of the trainings' outputs, `ROW-sSEED` each.
        trunk: that was given.
        test: the .bin set of pairs.
    """

    results: Path
    runs: Path
    trunk: Path
    test: Path

    @cached_property
    def records(self) -> list[Record]:
        """Those of Table 2."""
        return [record for record in read_records(self.results) if _TABLE in record.places]

    @property
    def interpolation(self) -> str:
        """How its faces were made small."""
        return str(self.records[0].settings["interpolation"])

    @cached_property
    def faces(self) -> NDArray[np.uint8]:
        """Evenly spaced over the test set, uint8 RGB [N, 112, 112, 3]."""
        images = read_bin(self.test)[0]
        return images[evenly_spaced(min(_NUM_FACES, len(images)), len(images))]

    def load_trunk(self) -> Backbone:
        """The given trunk."""
        return load_trunk(self.trunk)

    def load(self, record: Record) -> FaceModel | None:
        """What a record's numbers are of: its first seed's run, or the given trunk; None where it is gone."""
        path = self.runs / f"{record.name}-s{record.seed}" if record.cost.num_images else self.trunk
        return load_model(path) if path.exists() else None

    @cached_property
    def models(self) -> dict[tuple[str, int], FaceModel]:
        """(label in Table 2, resolution in px) -> the model of the first seed that answers it."""
        found: dict[tuple[str, int], FaceModel] = {}
        loaded: dict[str, FaceModel | None] = {}
        for record in self.records:
            for r in RESOLUTIONS:
                key = record.places[_TABLE], r
                if record.resolution not in (0, r) or key in found:
                    continue
                model = loaded.setdefault(record.name, self.load(record))
                if model is not None:
                    found[key] = model
        return found


def write_figures(material: Material) -> list[Path]:
    """Measure what is not there yet, or was measured on something else.

    Returns:
        The files, in `figures` below the results: JSON with "digest" and "data".
    """
    paths = []
    for name, (measure, of_models) in _MEASURES.items():
        path = material.results / FIGURES / f"{name}.json"
        digest = _digest(material, name, of_models)
        if not path.is_file() or _read(path)["digest"] != digest:
            data = measure(material)
            if data is None:
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_text(json.dumps({"digest": digest, "data": data}) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


def read_figures(results: Path) -> dict[str, dict[str, Any]]:
    """Data of the figures that were measured, by name."""
    return {path.stem: _read(path)["data"] for path in sorted((results / FIGURES).glob("*.json"))}


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if {"digest", "data"} <= document.keys():
            return dict(document)
    except (ValueError, AttributeError):
        pass
    raise ValueError(
        f"{path}: not a file of `btnet-lab evidence`; remove it, and the next run writes it anew"
    )


def _digest(material: Material, name: str, of_models: bool) -> str:
    """Of all that decides a figure's numbers."""
    made_of = [str(_FORMAT), name, sha256(trunk_file(material.trunk)), sha256(material.test)]
    if of_models:
        files = [f"{record.name}-s{record.seed}.json" for record in material.records]
        made_of += [sha256(material.results / file) for file in files]
    return hashlib.sha256(" ".join(made_of).encode()).hexdigest()


def _error_bound(material: Material) -> dict[str, Any] | None:
    """Fig. 1, of as many faces as it takes."""
    faces = material.faces
    if len(faces) < _NUM_FACES:
        return None
    found = error_bound(faces, _steps(faces.shape[1]))
    return {"num_faces": len(faces), "errors": {"bilinear": [astuple(error) for error in found]}}


def _steps(size: int) -> list[int]:
    return sorted({*range(4, size, 4), *RESOLUTIONS, size})


def _upsampling(material: Material) -> dict[str, Any]:
    """What shrinking loses, in pixels and in the embedding."""
    faces = material.faces
    errors = {
        name: [astuple(error) for error in down_up_error(faces, _steps(faces.shape[1]), name)]
        for name in _INTERPOLATIONS
    }
    trunk = material.load_trunk()
    networks = {("phi_hr", r): trunk for r in _BETWEEN}
    networks |= {key: network for key, network in _networks(material).items() if key[0] == "phi_bt"}
    return {
        "num_faces": len(faces),
        "errors": errors,
        "interpolation": material.interpolation,
        "cosine": cosines(trunk, networks, faces, material.interpolation),
    }


def _costs(material: Material) -> dict[str, Any]:
    """Figs. 4 and 5, of the given trunk."""
    return {"costs": [asdict(cost) for cost in model_costs(material.load_trunk(), RESOLUTIONS)]}


def _folds(material: Material) -> dict[str, Any]:
    """Fig. 6: accuracy fold by fold, the mean over seeds, {label: {pair: numbers}}."""
    seeds: dict[str, dict[str, list[NDArray[np.float64]]]] = {}
    for record in material.records:
        for pair, judged in record.judged_rightly.items():
            if record.resolution in (0, pair_key(pair)[1]):
                of_label = seeds.setdefault(record.places[_TABLE], {})
                of_label.setdefault(pair, []).append(fold_accuracies(judged))
    return {
        label: {pair: np.mean(found, axis=0).tolist() for pair, found in by_pair.items()}
        for label, by_pair in seeds.items()
    }


def _selection(material: Material) -> dict[str, Any]:
    """Fig. 8: what the answer depends on; it is the rule's own, and nothing is measured."""
    return {"resolutions": [material.load_trunk().canonical_size, *RESOLUTIONS], "largest_px": _LARGEST_PX}


def _architecture(material: Material) -> dict[str, Any]:
    """Fig. 9, of the given trunk."""
    facts = architecture(material.load_trunk(), RESOLUTIONS)
    return {str(r): [asdict(unit) for unit in units] for r, units in facts.items()}


def _maps(material: Material) -> dict[str, Any]:
    """Figs. 3 and 10: feature maps of a rendered face, and how close test faces' come to the trunk's at 112 px."""
    trunk, models = material.load_trunk(), material.models
    return {
        **maps_of_rendered_face(trunk, models, material.interpolation),
        "num_faces": len(material.faces),
        "agreement": agreement(trunk, _networks(material), material.faces, material.interpolation),
    }


def _networks(material: Material) -> dict[tuple[str, int], Backbone]:
    """(label in Table 2, resolution in px) -> the network that answers it."""
    chosen = {(label, r): model.network_for(r) for (label, r), model in material.models.items()}
    return {key: network for key, network in chosen.items() if isinstance(network, Backbone)}


Measure = Callable[[Material], dict[str, Any] | None]
_MEASURES: Final[dict[str, tuple[Measure, bool]]] = {
    "error_bound": (_error_bound, False),
    "upsampling": (_upsampling, True),
    "costs": (_costs, False),
    "folds": (_folds, True),
    "selection": (_selection, False),
    "architecture": (_architecture, False),
    "maps": (_maps, True),
}
"""What measures each, and whether the rows of Table 2 have a part in it."""
