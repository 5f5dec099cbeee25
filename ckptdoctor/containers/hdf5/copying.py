"""Copying the objects of one HDF5 file into another, as they are: types, attributes, packing, links.

HDF5's own copy of a whole group goes by name, and names are not the order in which Keras wrote (readers that have no
configuration go by that order): groups are therefore made one by one in the order of their addresses, and only data
sets are left to `H5Ocopy`, which moves their bytes as they are stored.
"""

from __future__ import annotations

from typing import Any

import h5py as _h5py
import numpy as np

from ckptdoctor.containers.hdf5.structure import MAX_DEPTH
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact

h5py: Any = _h5py


def copy_tree(source: Any, target: Any, skip: frozenset[str], forgotten: frozenset[str] = frozenset()) -> None:
    """Copies everything below the root, and the root's attributes.

    Args:
        source: An open file.
        target: A new file.
        skip: Paths of members that stay behind, without a leading slash.
        forgotten: Names of the root's attributes that do.

    Raises:
        UnreadableArtifact: A data set keeps its bytes in another file.
        LimitExceeded: Groups are nested deeper than any model.
    """
    _group(source.id, target.id, _Copied(), skip, "", forgotten)


class _Copied(dict[int, str]):
    """Address of each object that was copied → its path, so that a second link to it stays a link."""


def _group(
    source: Any, target: Any, copied: _Copied, skip: frozenset[str], path: str, forgotten: frozenset[str] = frozenset()
) -> None:
    """Copies a group's attributes and members, in the order in which they were made."""
    if path.count("/") > MAX_DEPTH:
        raise LimitExceeded(f"groups are nested deeper than {MAX_DEPTH}", place=path[:80])
    _attributes(source, target, forgotten)
    hard: list[tuple[int, int, bytes]] = []
    for raw in source:
        if f"{path}/{raw.decode('utf-8', 'surrogateescape')}"[1:] in skip:
            continue
        link = source.links.get_info(raw)
        if link.type == h5py.h5l.TYPE_HARD:
            info = h5py.h5o.get_info(source, raw)
            hard.append((info.addr, info.type, raw))
        elif link.type == h5py.h5l.TYPE_SOFT:
            target.links.create_soft(raw, source.links.get_val(raw))
        elif link.type == h5py.h5l.TYPE_EXTERNAL:
            file, name = source.links.get_val(raw)
            target.links.create_external(raw, file, name)
    for address, kind, raw in sorted(hard):
        where = f"{path}/{raw.decode('utf-8', 'surrogateescape')}"
        known = copied.get(address)
        if known is not None:
            target.links.create_hard(raw, h5py.h5g.open(target, b"/"), known.encode("utf-8", "surrogateescape"))
            continue
        copied[address] = where
        if kind == h5py.h5o.TYPE_GROUP:
            old = h5py.h5g.open(source, raw)
            new = h5py.h5g.create(target, raw, link_properties(), old.get_create_plist())
            _group(old, new, copied, skip, where)
        else:
            if kind == h5py.h5o.TYPE_DATASET:
                _own_bytes(h5py.h5d.open(source, raw), where)
            h5py.h5o.copy(source, raw, target, raw, lcpl=link_properties())


def link_properties() -> Any:
    """Names of links are UTF-8."""
    properties = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    properties.set_char_encoding(h5py.h5t.CSET_UTF8)
    return properties


def _own_bytes(dataset: Any, where: str) -> None:
    properties = dataset.get_create_plist()
    layout = properties.get_layout()
    if layout == h5py.h5d.VIRTUAL or (layout == h5py.h5d.CONTIGUOUS and properties.get_external_count()):
        raise UnreadableArtifact("keeps its bytes in another file, which is not followed", place=where)


def _attributes(source: Any, target: Any, forgotten: frozenset[str]) -> None:
    """Copies attributes with their exact types: fixed or variable texts, in their character sets."""
    for index in range(h5py.h5a.get_num_attrs(source)):
        old = h5py.h5a.open(source, index=index)
        if old.name.decode("utf-8", "surrogateescape") not in forgotten:
            copy_attribute(old, target)


def copy_attribute(old: Any, target: Any) -> None:
    """Copies an attribute with its exact type."""
    new = h5py.h5a.create(target, old.name, old.get_type(), old.get_space())
    if old.shape is None:  # a null data space: nothing to copy
        return
    values = np.empty(old.shape, old.dtype)
    old.read(values)
    new.write(values)
