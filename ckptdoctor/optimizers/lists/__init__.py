"""State in lists without names: which element is which."""
