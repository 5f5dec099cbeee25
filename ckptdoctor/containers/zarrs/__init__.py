"""Arrays in chunks, zarr v2 and v3: what their metadata says, and their values."""
