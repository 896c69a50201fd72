"""phi_bt: the branch for 28 px faces."""

from easydict import EasyDict

config = EasyDict()
config.like = "ms1mv3_btnet_r14"
config.role = "phi_bt r28"
config.branches = [28]
