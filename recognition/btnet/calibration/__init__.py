"""From scores to decisions: thresholds by the sizes of two faces, how sure they are, and the file that keeps them."""
