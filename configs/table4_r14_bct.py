"""Table 4 at 14 px, + BCT: no tail is shared, the whole network learns against the old classifier."""

from easydict import EasyDict

config = EasyDict()
config.like = "table4_r14_fix_trunk"
config.role = "+ BCT"
config.tail_from = "none"
