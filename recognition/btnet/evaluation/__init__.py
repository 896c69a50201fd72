"""btnet.evaluation."""
