"""phi_mr (v3): as v1, but any size from 4 to 112 px."""

from easydict import EasyDict

config = EasyDict()
config.like = "ms1mv3_r50_mr"
config.role = "phi_mr v3"
config.multi_resolution = "v3"
