"""State written into Keras' files."""
