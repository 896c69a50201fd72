"""phi_mr (v1): phi_hr, trained on faces that are shrunk to a random size and enlarged again."""

from easydict import EasyDict

config = EasyDict()
config.like = "ms1mv3_r50_hr"
config.role = "phi_mr v1"
config.multi_resolution = "v1"
