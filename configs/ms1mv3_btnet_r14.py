"""phi_bt: the branch for 14 px faces on the trunk and the classifier of ms1mv3_r50_mr."""

from easydict import EasyDict

config = EasyDict()
config.role = "phi_bt r14"
config.rec = "data/ms1m-retinaface-t1/train.rec"
config.val_targets = ["lfw", "cfp_fp", "agedb_30"]
config.trunk = "runs/ms1mv3_r50_mr"
config.branches = [14]
config.lr = 0.02
config.num_epoch = 10
config.warmup_epoch = 0
