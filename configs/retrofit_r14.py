"""A branch for 14 px faces on any trunk that came without its classifier. Set rec and trunk."""

from easydict import EasyDict

config = EasyDict()
config.role = "phi_bt r14"
config.branches = [14]
config.classifier = "prototype"
config.lr = 0.02
config.num_epoch = 10
config.warmup_epoch = 0
