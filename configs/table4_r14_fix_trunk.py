"""Table 4 at 14 px, + fix trunk: the branch without branch distillation."""

from easydict import EasyDict

config = EasyDict()
config.like = "ms1mv3_btnet_r14"
config.role = "+ fix trunk"
config.distillation_weight = 0.0
