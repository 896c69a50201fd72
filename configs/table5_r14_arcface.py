"""Table 5 at 14 px: ArcFace as the influence loss."""

from easydict import EasyDict

config = EasyDict()
config.like = "ms1mv3_btnet_r14"
config.role = "ArcFace influence"
config.loss = "ArcFace"
