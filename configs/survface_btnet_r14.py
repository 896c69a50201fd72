"""QMUL-SurvFace, second step: the branch for 14 px faces on the trunk and the classifier of survface_r50_hr."""

from easydict import EasyDict

config = EasyDict()
config.like = "survface_r50_hr"
config.role = "phi_bt r14 SurvFace"
config.trunk = "runs/survface_r50_hr"
config.branches = [14]
