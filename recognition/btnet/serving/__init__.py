"""A model as it is served and evaluated: faces of any size to embeddings, galleries."""
