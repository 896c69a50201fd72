"""QMUL-SurvFace, second step: the branch for 28 px faces."""

from easydict import EasyDict

config = EasyDict()
config.like = "survface_btnet_r14"
config.role = "phi_bt r28 SurvFace"
config.branches = [28]
