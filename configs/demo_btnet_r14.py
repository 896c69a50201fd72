"""The demo's: small enough for two cores."""

from easydict import EasyDict

config = EasyDict()
config.rec = "synthetic:200:12"
config.batch_size = 32
config.role = "phi_bt"
config.trunk = "runs/demo_mr"
config.branches = [14]
config.lr = 0.1
config.num_epoch = 12
config.warmup_epoch = 0
