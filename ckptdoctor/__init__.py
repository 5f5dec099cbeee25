"""Inspect and repair training checkpoints."""

__version__ = "0.1.0"
