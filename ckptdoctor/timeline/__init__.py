"""The checkpoints of a run, one a line, and which one to resume from."""
