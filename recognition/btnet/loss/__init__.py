"""btnet.loss."""
