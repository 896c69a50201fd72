"""phi_bt: the branch for 56 px faces."""

from easydict import EasyDict

config = EasyDict()
config.like = "ms1mv3_btnet_r14"
config.role = "phi_bt r56"
config.branches = [56]
