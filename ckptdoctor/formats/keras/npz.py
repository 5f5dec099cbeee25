"""`model.weights.npz`, the other store of a `.keras` archive (`saving_lib.save_model(…, weights_format="npz")`).

Each member is one object's `vars`: an array of one object, the dictionary of its variables, and so a pickle, which
Keras itself refuses to load again. It is read with our own pickle reader; the arrays stay where they are.
"""

from __future__ import annotations

from typing import BinaryIO

from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.pickles.reading import ForbiddenImport, Node, load_at
from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.containers.zips.npy import read_header
from ckptdoctor.formats.keras.optimizer_groups import VARS
from ckptdoctor.formats.keras.tree import Store, portable
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Oddity

_MAX_PACKED = 256 << 20


def load_npz(path: str, stream: BinaryIO, store: Store, *, start: int | None) -> None:
    """Adds an npz archive's groups to a store.

    Args:
        path: The file on disk: the npz archive or the `.keras` archive around it.
        stream: The npz archive's bytes; closed when done.
        store: Where the groups go.
        start: Where the npz archive begins in the file; None if it is packed and so has no place in it.
    """
    with ZipArchive(path, stream) as archive, RegularFile(path) as file:
        for member in archive.names:
            if not member.endswith(".npy"):
                continue
            group = _group(member.removesuffix(".npy"))
            if start is not None and archive.is_stored(member):
                size = archive.size(member)
                cursor = Cursor(file, path, start + archive.offset(member), size)
            else:
                cursor = Cursor(archive.read(member, _MAX_PACKED), path)
            try:
                _add(group, _load(cursor, group), store)
            except ForbiddenImport as error:
                store.oddities.append(Oddity("I007", f"{member} was not read: {error}"))
        store.oddities.extend(archive.oddities)


def _group(member: str) -> str:
    """The path that HDF5 has for the same variables: npz members leave `vars` out and call the model `__root__`."""
    path = "" if member in {"__root__", ""} else portable(member).strip("/")
    return "/".join(part for part in (path, VARS) if part) if path.rpartition("/")[2] != VARS else path


def _load(cursor: Cursor, key: str) -> Node:
    header = read_header(cursor)
    if header.dtype == "object":
        return load_at(cursor, key)
    place = cursor.locate(cursor.position, header.nbytes, big_endian=header.big_endian, fortran=header.fortran)
    return TensorRef(key, header.dtype, header.shape, place)


def _add(group: str, node: Node, store: Store) -> None:
    while isinstance(node, list) and len(node) == 1 and not isinstance(node, TensorRef):
        node = node[0]
    if not isinstance(node, dict):
        store.oddities.append(Oddity("I007", f"{group} is no dictionary of variables and was not read"))
        return
    variables = store.groups.setdefault(group, {})
    for name, value in node.items():
        if isinstance(value, TensorRef) and isinstance(name, str):
            key = f"{group}/{name}"
            variables[name] = value._replace(key=key)
            if value.size == 1:
                store.values[key] = read_scalar(value)
