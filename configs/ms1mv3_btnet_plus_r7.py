"""phi_bt plus: the branch for 7 px faces with what won beyond the paper (README.md says why)."""

from easydict import EasyDict

config = EasyDict()
config.like = "ms1mv3_btnet_r7"
config.role = "phi_bt plus r7"
config.inner_size = 56
config.embedding_cosine_weight = 20.0
config.influence_weight = 0.3
config.shared_jitter = 0.03
config.degradation = 0.1
