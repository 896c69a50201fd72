"""phi_mm: an encoder of its own for native 7 px faces, from scratch."""

from easydict import EasyDict

config = EasyDict()
config.like = "ms1mv3_r50_mm_r14"
config.role = "phi_mm r7"
config.input_size = 7
