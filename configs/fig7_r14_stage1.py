"""Fig. 7 at 14 px, Stage 1+: the layers behind unit 1 of stage 1 are inherited and fixed."""

from easydict import EasyDict

config = EasyDict()
config.like = "ms1mv3_btnet_r14"
config.role = "Stage 1+"
config.tail_from = "layer1.1"
