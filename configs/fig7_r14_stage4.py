"""Fig. 7 at 14 px, Stage 4+: the layers behind unit 1 of stage 4 are inherited and fixed."""

from easydict import EasyDict

config = EasyDict()
config.like = "ms1mv3_btnet_r14"
config.role = "Stage 4+"
config.tail_from = "layer4.1"
