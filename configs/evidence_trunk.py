"""A row of `btnet-lab evidence`: a trunk that goes on learning from few images (phi_mr), with few images on a CPU."""

from easydict import EasyDict

config = EasyDict()
config.like = "evidence_branch"
config.role = "phi_mr"
config.branches = []
config.classifier = ""
config.multi_resolution = "v1"
config.lr = 0.01
