"""btnet.inference."""
