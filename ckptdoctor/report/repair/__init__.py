"""Reports of `repair` and of `strip`."""
