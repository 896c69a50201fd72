"""phi_bt: all branches in one run, over one pass of the data and of the teacher."""

from easydict import EasyDict

config = EasyDict()
config.like = "ms1mv3_btnet_r14"
config.role = "phi_bt"
config.branches = [56, 28, 14, 7]
