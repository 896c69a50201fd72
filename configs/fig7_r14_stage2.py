"""Fig. 7 at 14 px, Stage 2+: the layers behind unit 1 of stage 2 are inherited and fixed."""

from easydict import EasyDict

config = EasyDict()
config.like = "ms1mv3_btnet_r14"
config.role = "Stage 2+"
config.tail_from = "layer2.1"
