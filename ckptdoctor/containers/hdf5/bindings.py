"""HDF5's library, loaded when something is asked of it: it takes as long to load as a file of 100 MB to be copied."""

from typing import Any


class _Library:
    """Stands for the module h5py, whose stubs leave out the low-level interface."""

    def __getattr__(self, name: str) -> Any:
        import h5py

        return getattr(h5py, name)


h5py: Any = _Library()
