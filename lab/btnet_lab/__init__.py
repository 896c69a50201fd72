"""The laboratory: btnet's paper in miniature, its figures, and what was measured beyond it."""
