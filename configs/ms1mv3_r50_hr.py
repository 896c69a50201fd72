"""phi_hr: the trunk of the paper, trained on 112 px faces alone."""

from easydict import EasyDict

config = EasyDict()
config.role = "phi_hr"
config.rec = "data/ms1m-retinaface-t1/train.rec"
config.val_targets = ["lfw", "cfp_fp", "agedb_30"]
