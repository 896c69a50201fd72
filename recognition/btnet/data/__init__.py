"""btnet.data."""
