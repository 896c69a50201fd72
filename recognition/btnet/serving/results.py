"""The one shape of result files: what was measured, on what, with which networks, by which versions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from btnet.files.atomic import replacing
from btnet.model_folder.manifest import versions
from btnet.serving.face_model import FaceModel

__all__ = ["describe_model", "plain", "result_document", "write_result"]


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
        models: of `describe_model`.
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


def describe_model(model: FaceModel, path: str, sizes: Iterable[int]) -> dict[str, Any]:
    """What a model is, for a result file: by what it holds, not by what it is called.

    Args:
        model: as evaluated.
        path: where it came from, as the user named it.
        sizes: of faces in px that it embedded.

    Returns:
        "name", "role" (null where none is recorded), "kind", "resolutions" of its networks, "fingerprint" of all of
        them together, "interpolation", "selection", "path", and "networks": by size of the face, the network that
        embedded it, with its own size and fingerprint.
    """
    known = {resolution: model.fingerprint(resolution) for resolution in model.resolutions}
    whole = "".join(f"{resolution} {digest}\n" for resolution, digest in known.items())
    used = {size: chosen for size in sizes if (chosen := model.choose(size)) is not None}
    return {
        "name": model.name,
        "role": model.role or None,
        "kind": model.kind,
        "canonical_size": model.canonical_size,
        "resolutions": list(model.resolutions),
        "fingerprint": hashlib.sha256(whole.encode()).hexdigest(),
        "interpolation": model.interpolation,
        "selection": {"rule": model.rule, "network": model.forced},
        "path": path,
        "networks": {
            str(size): {
                "name": model.network_name(size),
                "resolution": chosen,
                "fingerprint": known[chosen],
            }
            for size, chosen in used.items()
        },
    }


def plain(values: Mapping[Any, float | None]) -> dict[str, float | None]:
    """Rates by target as JSON has them: {0.01: x} -> {"0.01": x}; null where there is none."""
    return {f"{key:g}": value for key, value in values.items()}


def write_result(path: Path, document: Mapping[str, Any]) -> None:
    """Write a result as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n")
