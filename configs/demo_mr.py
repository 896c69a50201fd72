"""The demo's: phi_hr goes on learning, from faces of all sizes. Small enough for two cores."""

from easydict import EasyDict

config = EasyDict()
config.rec = "synthetic:200:12"
config.batch_size = 32
config.role = "phi_mr"
config.multi_resolution = "v1"
config.trunk = "runs/demo_hr"
config.lr = 0.1
config.num_epoch = 5
config.warmup_epoch = 0
