"""State written into Orbax checkpoints."""
