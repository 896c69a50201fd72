"""Backbones, the registry that knows them, and the files their weights come in."""
