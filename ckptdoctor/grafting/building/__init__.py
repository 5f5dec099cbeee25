"""The result of a graft: built beside its place, read back, compared, put into place."""
