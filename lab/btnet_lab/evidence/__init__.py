"""Evidence on real faces: the paper's tables in miniature, from a pretrained trunk and a few thousand images."""
