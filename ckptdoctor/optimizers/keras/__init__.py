"""Keras' optimizers: configurations, names, schedules."""
