"""Texts and lists of names in HDF5 attributes, in every encoding that ten years of Keras and h5py have written.

Variable-length UTF-8 (h5py 3), fixed-width byte arrays (h5py 2, and always where the attribute was split), plain bytes,
pickled-looking numpy scalars, and, for the empty list, a float64 array of no elements.
"""

from __future__ import annotations

from typing import Any


def decode_text(value: object) -> str | None:
    """One text; None if the value is none."""
    item: Any = value[0] if isinstance(value, list) and len(value) == 1 else value
    if hasattr(item, "dtype") and getattr(item, "shape", None) == ():
        item = item.item()
    if hasattr(item, "tolist") and getattr(item, "size", 0) == 1:
        item = item.reshape(-1)[0]
    if isinstance(item, bytes):
        return item.decode("utf-8", "replace")
    return str(item) if isinstance(item, str) else None


def decode_names(value: object) -> list[str] | None:
    """A list of names; None if the value is no such list."""
    items: Any = value
    if isinstance(items, (str, bytes)):
        items = [items]
    elif hasattr(items, "dtype"):
        if getattr(items, "shape", None) is None or getattr(items, "size", 1) == 0:
            return []  # the empty list: h5py makes it float64 of shape (0,), or a null data space
        items = items.reshape(-1).tolist()
    if not isinstance(items, list):
        return None
    names = [_name(item) for item in items]
    return None if any(name is None for name in names) else [name for name in names if name is not None]


def _name(item: object) -> str | None:
    if isinstance(item, bytes):
        # Names lead back to data sets: bytes that are no UTF-8 must survive the round trip.
        return item.rstrip(b"\0").decode("utf-8", "surrogateescape")
    return item if isinstance(item, str) else None
