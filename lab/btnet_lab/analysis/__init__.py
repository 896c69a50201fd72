"""The paper's figures on your own models and faces: a picture and a table each."""
