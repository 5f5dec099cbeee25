"""Zip archives, and arrays of numpy in them."""
