"""Optimizers that follow `torch.optim`'s `state_dict` convention: classes, and learning-rate schedulers."""
