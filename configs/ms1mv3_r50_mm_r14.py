"""phi_mm: an encoder of its own for native 14 px faces, from scratch ("Scratch" in Table 4)."""

from easydict import EasyDict

config = EasyDict()
config.like = "ms1mv3_r50_hr"
config.role = "phi_mm r14"
config.input_size = 14
config.num_epoch = 10  # A.3: "the training all stops at the 10th epoch", Table 4's rows as we read it
