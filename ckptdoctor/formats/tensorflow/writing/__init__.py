"""State written into TensorFlow checkpoints and SavedModels."""
