"""Rendered people: the embedded data, of nobody."""
