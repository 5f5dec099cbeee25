"""Pages of their own: one file, no script, nothing from the network."""
