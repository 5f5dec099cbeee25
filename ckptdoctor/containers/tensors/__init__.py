"""Tensors: types, shapes, values."""
