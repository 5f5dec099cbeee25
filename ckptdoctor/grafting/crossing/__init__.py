"""Optimizers of one framework in the words of another: what is the same quantity, and what is none."""
