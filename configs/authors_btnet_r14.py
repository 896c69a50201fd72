"""The recipe of the authors' code, where it is not the paper's: another loss, one term more, less that learns."""

from easydict import EasyDict

config = EasyDict()
config.like = "ms1mv3_btnet_r14"
config.role = "phi_bt r14, authors"
config.loss = "CosFace"
config.margin = 0.40
config.embedding_loss_weight = 0.5
config.learnt = "authors"
