"""phi_mr (v2): as v1, but smaller sizes are rarer."""

from easydict import EasyDict

config = EasyDict()
config.like = "ms1mv3_r50_mr"
config.role = "phi_mr v2"
config.multi_resolution = "v2"
