"""TensorFlow's tensor bundles, V1 checkpoints, object graphs and the parts of SavedModels."""
