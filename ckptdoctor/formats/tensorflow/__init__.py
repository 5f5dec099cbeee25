"""TensorFlow checkpoints of both versions, and SavedModels."""
