"""What lies in a model folder: its manifest, its files and their digests."""
