"""btnet: multi-resolution face recognition that keeps your gallery."""

__version__ = "0.1.0"

from btnet.backbones.iresnet import iresnet18, iresnet34, iresnet50, iresnet100, iresnet200
from btnet.backbones.mobilefacenet import mobilefacenet, mobilefacenet_large
from btnet.backbones.registry import register_backbone
from btnet.backbones.saved_networks import register_layout
from btnet.backbones.trunk_file import load_trunk
from btnet.interop import foreign_trunks
from btnet.method.btnet import BTNet
from btnet.method.overlay import Overlay

__all__ = [
    "BTNet",
    "Overlay",
    "iresnet18",
    "iresnet34",
    "iresnet50",
    "iresnet100",
    "iresnet200",
    "load_trunk",
    "mobilefacenet",
    "mobilefacenet_large",
    "register_backbone",
]

register_layout(foreign_trunks.translate)  # the model does not know the formats of others
