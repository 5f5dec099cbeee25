"""What optimizers are: their state variables by class and generation, their configuration, their schedules.

Pure knowledge and pure functions: no file is opened here.
"""
