"""From a trunk and faces to a package with branches: what `btnet retrofit` does, one stage a module."""
