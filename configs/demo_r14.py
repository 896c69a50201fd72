"""The demo's: small enough for two cores."""

from easydict import EasyDict

config = EasyDict()
config.rec = "synthetic:200:12"
config.batch_size = 32
config.role = "phi_14"
config.input_size = 14
config.network = "iresnet"
config.network_args = EasyDict(blocks=[1, 1, 1, 1], widths=[16, 16, 32, 64])
config.embedding_size = 128
config.lr = 0.1
config.num_epoch = 5
config.warmup_epoch = 1
