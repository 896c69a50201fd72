"""Table 5 at 14 px: CosFace as the influence loss."""

from easydict import EasyDict

config = EasyDict()
config.like = "ms1mv3_btnet_r14"
config.role = "CosFace influence"
config.loss = "CosFace"
