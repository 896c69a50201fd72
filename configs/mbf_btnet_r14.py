"""A branch for 14 px faces on a pretrained MobileFaceNet, with few images on a CPU. Set rec and trunk."""

from easydict import EasyDict

config = EasyDict()
config.role = "phi_bt r14"
config.branches = [14]
config.classifier = "prototype"
config.embedding_cosine_weight = 20.0  # beside eq. 3: prototypes of few images per person say little
config.lr = 0.05
config.batch_size = 64
config.num_epoch = 16
config.warmup_epoch = 0
