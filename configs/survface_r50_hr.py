"""QMUL-SurvFace, first step: the trunk goes on with surveillance faces and a new classifier, both learn."""

from easydict import EasyDict

config = EasyDict()
config.role = "phi_hr SurvFace"
config.rec = "data/survface.rec"
config.native_crops = True
config.trunk = "runs/ms1mv3_r50_mr"
config.lr = 0.02
config.num_epoch = 10
config.warmup_epoch = 0
