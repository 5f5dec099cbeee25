"""Writes PyTorch's files with another optimizer in them."""
