"""The demo's: small enough for two cores."""

from easydict import EasyDict

config = EasyDict()
config.rec = "synthetic:200:20"
config.batch_size = 64
config.role = "phi_bt"
config.trunk = "runs/demo_mr"
config.branches = [14]
config.lr = 0.05
config.num_epoch = 4
config.warmup_epoch = 0
