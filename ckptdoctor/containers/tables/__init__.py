"""Sorted tables and the encodings of their keys and values."""
