"""phi_mm: an encoder of its own for native 14 px faces, from scratch (also "Scratch" in Table 4)."""

from easydict import EasyDict

config = EasyDict()
config.role = "phi_mm r14"
config.rec = "data/ms1m-retinaface-t1/train.rec"
config.val_targets = ["lfw", "cfp_fp", "agedb_30"]
config.input_size = 14
