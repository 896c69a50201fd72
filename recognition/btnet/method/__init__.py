"""The paper: coupling layers, branches that share the trunk's tail, overlays, equations 1 to 3."""
