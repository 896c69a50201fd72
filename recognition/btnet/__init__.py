"""btnet: multi-resolution face recognition that keeps your gallery."""

from __future__ import annotations

__version__ = "0.1.0"

from pathlib import Path
from typing import TYPE_CHECKING

from btnet.backbones.iresnet import iresnet18, iresnet34, iresnet50, iresnet100, iresnet200
from btnet.backbones.mobilefacenet import mobilefacenet, mobilefacenet_large
from btnet.backbones.registry import register_backbone
from btnet.backbones.saved_networks import register_layout
from btnet.backbones.trunk_file import load_trunk
from btnet.interop import foreign_trunks
from btnet.method.btnet import BTNet
from btnet.method.overlay import Overlay

if TYPE_CHECKING:
    from btnet.serving.recognizer import Recognizer

__all__ = [
    "BTNet",
    "Overlay",
    "iresnet18",
    "iresnet34",
    "iresnet50",
    "iresnet100",
    "iresnet200",
    "load",
    "load_trunk",
    "mobilefacenet",
    "mobilefacenet_large",
    "register_backbone",
]

register_layout(foreign_trunks.translate)  # the model does not know the formats of others


def load(name: str | Path, backend: str = "torch", *, device: str | None = None) -> Recognizer:
    """Load a model for serving: a folder, or `org/name` on the Hugging Face Hub.

    See `btnet.inference.Recognizer.load`, which has further options.
    """
    # On first use: scikit-image takes a second to import, and training does not align.
    from btnet.serving.recognizer import Recognizer

    return Recognizer.load(name, backend, device=device)
