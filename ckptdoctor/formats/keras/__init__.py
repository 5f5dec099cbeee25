"""Keras' files: whole models and weights in HDF5, `.keras` archives, `.weights.h5`."""
