"""Memory of the classifier, by margin and number of ranks."""
