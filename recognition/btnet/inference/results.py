"""The one shape of result files: what was measured, on what, with which networks, by which versions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from btnet.files.atomic import replacing
from btnet.inference.model_folder import EvaluatedModel
from btnet.model.manifest import versions

__all__ = ["networks_of", "result_document", "write_result"]


def result_document(
    task: str,
    *,
    protocol: str | Mapping[str, Any],
    interpolation: str,
    models: Sequence[Mapping[str, Any]],
    sets: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """A result as plain dicts, lists, numbers and strings.

    Args:
        task: "verification", "ijbc", "survface" ...
        protocol: what the numbers mean, in words or by option.
        interpolation: of the views.
        models: "name", "path", "networks" (see `networks_of`) each.
        sets: "name", "sha256", counts and "results" each; a result names its "model". Rates in [0, 1], null
            where a model has none.
    """
    return {
        "task": task,
        "protocol": protocol,
        "interpolation": interpolation,
        "models": list(models),
        "sets": list(sets),
        "versions": versions(),
    }


def networks_of(model: EvaluatedModel, resolutions: Iterable[int]) -> dict[str, dict[str, str]]:
    """Name and fingerprint of the network that embedded each resolution, by resolution."""
    described = {}
    for resolution in resolutions:
        choice = model.network_for(resolution)
        if choice is not None:
            described[str(resolution)] = {"name": choice.name, "fingerprint": model.fingerprint(resolution)}
    return described


def write_result(path: Path, document: Mapping[str, Any]) -> None:
    """Write a result as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n")
