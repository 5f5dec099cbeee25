"""HDF5 files on our terms."""
