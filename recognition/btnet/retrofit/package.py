"""The package: everything that is served, in one folder that is whole or not there."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from btnet.calibration.calibration import Calibration
from btnet.console import progress_bar, show
from btnet.data.faces import FaceSet
from btnet.evaluation.served import ServedPoint
from btnet.method.btnet import BTNet
from btnet.model_folder.manifest import put_manifest, read_manifest
from btnet.model_folder.model_files import record_files
from btnet.retrofit.card import model_card
from btnet.serving.calibrating import anchor_sizes, calibrate
from btnet.serving.recognizer import Recognizer

__all__ = ["write_package"]

_CARD, _PICTURE = "README.md", "served.png"
_ONNX: Final = ("onnx", "onnxscript", "onnxruntime")


def write_package(
    run: Path,
    draft: Path,
    facts: Mapping[str, Any],
    curve: Sequence[ServedPoint],
    held_out: FaceSet,
    device: str,
) -> None:
    """Write trunk, overlays, ONNX bundle, thresholds, card and manifest with digests.

    Args:
        run: what training wrote.
        draft: folder to write; what lies there goes.
        facts: of the retrofit, for the manifest.
        curve: of the model.
        held_out: faces to calibrate with.
        device: cpu or cuda.
    """
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(run, draft, ignore=shutil.ignore_patterns("checkpoints", ".*"))
    manifest = {**read_manifest(run), "retrofit": facts}
    put_manifest(draft, manifest)
    if all(map(find_spec, _ONNX)):
        from btnet.interop.onnx_bundle import export_bundle

        export_bundle(BTNet.load(draft), draft / "onnx")
    else:
        show("no ONNX files: pip install 'btnet[onnx]', then `btnet export-onnx`")
    calibration = _calibrate(draft, held_out, facts, device)
    picture = ""
    if find_spec("matplotlib"):
        from btnet.evaluation.plots import plot_served

        picture = _PICTURE
        plot_served(curve, draft / picture, model=manifest["role"], title="Held-out faces")
    card = model_card(manifest, calibration, picture=picture)
    (draft / _CARD).write_text(card, encoding="utf-8")
    record_files(
        draft, [path for path in (draft / _CARD, draft / _PICTURE, *draft.glob("onnx/*")) if path.is_file()]
    )


def _calibrate(draft: Path, held_out: FaceSet, facts: Mapping[str, Any], device: str) -> Calibration | None:
    """Thresholds from the held-out faces, provisional where nobody says who they are; None from too few."""
    recognizer = Recognizer.load(draft, device=device)
    try:
        with progress_bar("calibrating", len(anchor_sizes(recognizer.resolutions))) as progress:
            found = calibrate(
                recognizer,
                held_out,
                str(facts["faces"]),
                identities=facts["has_identities"],
                progress=progress,
            )
    except ValueError as error:
        show(f"not calibrated: {error}")
        return None
    found.save(draft)
    return found
