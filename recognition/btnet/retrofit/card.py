"""README.md of a package: what the model is, how it was judged, when it decides, and what it does not do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from btnet.calibration.calibration import Calibration

__all__ = ["model_card"]

_NOT_STATED: Final = "not stated"
_USE: Final = """```python
import btnet

model = btnet.load("{name}")
embeddings = model.embed(["door.jpg", "passport.jpg"])  # one space: faces of any size, and the trunk's old gallery
verdict = model.compare("door.jpg", "passport.jpg")  # same, different or too small to tell
```"""
_LIMITS: Final = (
    "Faces were shrunk from 112 px, not photographed small, unless the table of thresholds says otherwise; blur and "
    "noise of a real camera cost accuracy.",
    "No liveness check: a photograph of a face passes as a face.",
    "Embeddings are biometric data and are not encrypted at rest; faces can be approximated from them.",
    "Accuracy may differ between groups of people; it was not measured by group.",
)


def model_card(manifest: Mapping[str, Any], calibration: Calibration | None, *, picture: str = "") -> str:
    """A model card in Markdown, with the header that the Hugging Face Hub reads.

    Args:
        manifest: of the package, with the section "retrofit".
        calibration: of the package; None where it has none.
        picture: file of the served curve below the package; "" for none.
    """
    facts = manifest["retrofit"]
    name = str(manifest.get("role") or "model")
    sizes = ", ".join(f"{size}" for size in manifest["resolutions"])
    parts = [
        _header(facts["licences"]["trunk"]),
        f"# {name}",
        f"A frozen face recognition trunk with branches for {sizes} px faces (BTNet). Faces of any size are embedded "
        "in the trunk's space; its 112 px embeddings, and so an existing gallery, are unchanged.",
        "## Use",
        _USE.format(name=name),
        "## Accuracy by the size of the probe",
        _judged(facts),
        f"![Accuracy by the size of the probe]({picture})" if picture else "",
        _curve(facts["curve"]),
        "## Verdicts",
        _verdicts(calibration),
        "## Training",
        f"{facts['num_faces']} faces of `{facts['faces']}`, {facts['num_passes']} passes, "
        f"{'with' if facts.get('labels') else 'without'} labels; the trunk was the teacher.",
        "## Licences",
        "\n".join(f"- {what}: {text or _NOT_STATED}" for what, text in facts["licences"].items()),
        "## Limits",
        "\n".join(f"- {limit}" for limit in _LIMITS),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(licence: str) -> str:
    entries = {
        "library_name": "btnet",
        "pipeline_tag": "image-feature-extraction",
        "tags": ["face-recognition", "low-resolution", "btnet"],
        "license": "other",
        "license_name": licence or _NOT_STATED,
    }
    lines = (f"{key}: {json.dumps(value)}" for key, value in entries.items())  # JSON is YAML
    return "\n".join(["---", *lines, "---"])


def _judged(facts: Mapping[str, Any]) -> str:
    told = ", ".join(f"{size} px {verdict}" for size, verdict in facts["branches"].items())
    truth = (
        "identities"
        if facts["has_identities"]
        else "the trunk's own verdicts at 112 px: agreement, not accuracy"
    )
    return (
        f"Gallery at 112 px; {facts['num_held_out']} faces that were not trained on, judged by {truth}. Each branch "
        f"against the trunk alone, which sees small faces enlarged (paired bootstrap, 95 %): {told}."
    )


def _curve(points: Sequence[Mapping[str, Any]]) -> str:
    rows = (
        (f"{point['size']} px", point["network"], f"{100 * point['accuracy']:.1f}",
         f"{100 * point['trunk_accuracy']:.1f}", point["verdict"])
        for point in points
    )  # fmt: skip
    return _table(("probe", "network", "model, %", "trunk alone, %", "the model is"), rows)


def _verdicts(calibration: Calibration | None) -> str:
    if calibration is None:
        return "Not calibrated: `compare` gives no verdict until `btnet calibrate MODEL FACES` has measured thresholds."
    faces = calibration.faces
    if calibration.is_calibrated:
        lead = (
            f"Thresholds of the cosine, measured on {faces['num_faces']} faces of {faces['num_people']} people "
            f"({faces['small']}), with 95 % intervals over people."
        )
    else:
        lead = (
            f"Provisional thresholds from {faces['num_faces']} faces without identities: no false match rate is "
            "claimed. `btnet calibrate MODEL FACES` with identities measures one."
        )
    gallery = max(each.sizes[1] for each in calibration.thresholds)
    rows = (
        (f"{each.sizes[1]}&{each.sizes[0]} px", f"{each.fmr:g}", *each.cells)
        for each in calibration.thresholds
        if each.sizes[1] == gallery
    )
    head = ("gallery&probe", "false match rate", "threshold", "95 % interval", "matched pairs above, %")
    return f"{lead}\n\n{_table(head, rows)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
