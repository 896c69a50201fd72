"""What the paper's figures show, measured on models and faces of one's own: a picture and a table each."""
