"""phi_mr (v3): the trunk trained on faces of random resolution, shrunk and enlarged back to 112 px."""

from easydict import EasyDict

config = EasyDict()
config.role = "phi_mr v3"
config.rec = "data/ms1m-retinaface-t1/train.rec"
config.val_targets = ["lfw", "cfp_fp", "agedb_30"]
config.multi_resolution = "v3"
