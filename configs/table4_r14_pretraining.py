"""Table 4 at 14 px, pretraining: network and classifier start from the trunk's run, both learn."""

from easydict import EasyDict

config = EasyDict()
config.like = "table4_r14_bct"
config.role = "pretraining"
config.freeze_classifier = False
