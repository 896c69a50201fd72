"""btnet.model."""
