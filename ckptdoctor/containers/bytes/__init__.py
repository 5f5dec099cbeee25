"""Bytes in files: reading ranges, copying, checksums."""
