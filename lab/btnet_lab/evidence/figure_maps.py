"""Feature maps of a rendered face (figs. 3 and 10): to numbers in a result file, and back for the pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from btnet.backbones.backbone import Backbone
from btnet.images.resize import resize
from btnet.method.btnet import BTNet
from btnet.serving.face_model import FaceModel
from btnet.synthetic.faces import SyntheticFaces
from btnet_lab.analysis.feature_maps import ModelMaps, StageMap, see
from btnet_lab.analysis.pyramids import Level, pyramids

MAPS_PX: Final = 14
"""Size of the face whose feature maps fig. 10 shows."""

_HIGH_RESOLUTION, _BRANCH = "phi_hr", "phi_bt"
_GREY = 255  # levels of a stored feature map; each is drawn on its own scale


def rendered_face() -> NDArray[np.uint8]:
    """The face of figs. 3 and 10: of nobody, uint8 RGB [112, 112, 3]."""
    return SyntheticFaces(6, 1)[5][0]


def maps_of_rendered_face(
    trunk: Backbone, models: Mapping[tuple[str, int], FaceModel], interpolation: str
) -> dict[str, Any]:
    """Look at a rendered face with every branch, and with the first model of each of the paper's families.

    Returns:
        "interpolation", "pyramid" (fig. 3) and "models" (fig. 10), for `read_levels` and `read_models`.
    """
    face = rendered_face()
    levels = {level.resolution: level for level in pyramids(trunk, face, interpolation)}
    for (label, r), model in models.items():
        if label == _BRANCH and isinstance(model.module, BTNet):
            levels |= {
                each.resolution: each
                for each in pyramids(model.module, face, interpolation)
                if each.resolution == r
            }
    chosen: dict[str, FaceModel] = {}
    for label, r in models:
        family = label.partition(" ")[0].rstrip(",")
        if r == MAPS_PX and family.startswith("phi_"):
            chosen.setdefault(family, models[label, r])
    full = see(FaceModel.of(trunk, _HIGH_RESOLUTION), face, trunk.input_size, interpolation)
    seen = [(family, see(model, face, MAPS_PX, interpolation)) for family, model in chosen.items()]
    return {
        "interpolation": interpolation,
        "pyramid": [_write(level) for _, level in sorted(levels.items(), reverse=True)],
        "models": [_write_model(name, maps) for name, maps in [(_HIGH_RESOLUTION, full), *seen]],
    }


def read_levels(data: Mapping[str, Any]) -> list[Level]:
    """What `btnet_lab.analysis.pyramids.draw` draws, from `maps_of_rendered_face`."""
    face = rendered_face()
    return [
        Level(view=resize(face, level["resolution"], data["interpolation"]), **_read(level))
        for level in data["pyramid"]
    ]


def read_models(data: Mapping[str, Any]) -> list[ModelMaps]:
    """What `btnet_lab.analysis.feature_maps.draw` draws, from `maps_of_rendered_face`."""
    face = rendered_face()
    found = []
    for model in data["models"]:
        view = resize(face, model["resolution"], data["interpolation"])
        found.append(
            ModelMaps(
                model["model"],
                model["network"],
                model["resolution"],
                resize(view, model["input_px"], data["interpolation"]),
                [StageMap(**_read(stage)) for stage in model["stages"]],
            )
        )
    return found


def _write_model(name: str, maps: ModelMaps) -> dict[str, Any]:
    return {
        "model": name,
        "network": maps.network,
        "resolution": maps.resolution,
        "input_px": len(maps.view),
        "stages": [_write(stage) for stage in maps.stages],
    }


def _write(found: Level | StageMap) -> dict[str, Any]:
    """Its fields for JSON, but for the face, which is rendered again."""
    return {
        key: _write_map(value) if isinstance(value, np.ndarray) else value
        for key, value in vars(found).items()
        if key != "view"
    }


def _read(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What `_write` wrote."""
    return {key: _read_map(value) if isinstance(value, dict) else value for key, value in stored.items()}


def _write_map(image: NDArray[np.float32]) -> dict[str, Any]:
    low, high = float(image.min()), float(image.max())
    levels = np.rint(_GREY * (image - low) / ((high - low) or 1.0)).astype(int)
    return {"low": low, "high": high, "levels": levels.tolist()}


def _read_map(stored: Mapping[str, Any]) -> NDArray[np.float32]:
    share = np.asarray(stored["levels"], dtype=np.float32) / _GREY
    return np.asarray(stored["low"] + share * (stored["high"] - stored["low"]), dtype=np.float32)
