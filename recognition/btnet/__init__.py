"""btnet: multi-resolution face recognition that keeps your gallery."""

__version__ = "0.1.0"

from btnet.interop import foreign_trunks
from btnet.model.btnet import BTNet
from btnet.model.iresnet import iresnet18, iresnet34, iresnet50, iresnet100, iresnet200
from btnet.model.mobilefacenet import mobilefacenet, mobilefacenet_large
from btnet.model.names import register_backbone
from btnet.model.overlay import Overlay
from btnet.model.saved_networks import register_layout
from btnet.model.trunk_file import load_trunk

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
