"""btnet.training."""
