"""A run of `btnet-lab evidence`: a branch (phi_bt), or a whole network of one size (phi_mm), small enough for a CPU."""

from easydict import EasyDict

config = EasyDict()
config.role = "phi_bt r14"
config.branches = [14]
config.classifier = "prototype"
config.lr = 0.05
config.batch_size = 64
config.num_epoch = 8
config.warmup_epoch = 0
config.save_every = 200
config.precision = "fp32"
config.compile = True
