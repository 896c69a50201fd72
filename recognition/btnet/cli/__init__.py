"""btnet.cli."""
