"""From what a pickle of torch.save built to plain data: tensors become references, other objects records."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod

from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.pickles.reading import Key, Node, Place, Thing, Tree
from ckptdoctor.containers.pickles.values import Global, Opaque
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.containers.torchfiles.imports import PACKED, UNRESOLVED, Dtype, Name, Storage, Tensor, View
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import Coded, FileRange, Inline, Location, Strided, TensorRef

Stored = Callable[[Storage], "FileRange | Coded | None"]
"""Where a storage's bytes are, whole; None where they are lost."""

_NAMED = frozenset({Name, Dtype, View})
"""Named tuples, and no tuples of the file's."""


def itemsize(dtype: str) -> int:
    """Bytes an element; 0 for types that are not known."""
    return ITEMSIZE.get(dtype, 0)


class TorchTree(Tree):
    """The structure, with `/` between the keys that lead to a tensor.

    Attributes:
        lost: Keys of tensors whose storages are not there.
    """

    def __init__(self, cursor: Cursor, stored: Stored) -> None:
        super().__init__(cursor)
        self._stored = stored
        self._around: Place | None = None  # what stands in it follows one another, and begins with the same keys
        self._prefix = ""
        self.lost: list[str] = []

    def written(self, key: Place) -> str:
        """`optimizer/state/0/exp_avg`."""
        around, index = key
        if around is None:
            return str(index) if index else ""
        if around is not self._around:
            before = self.written(around)
            self._around, self._prefix = around, f"{before}/" if before or around[0] is not None else ""
        return f"{self._prefix}{index}"

    def node(self, value: object, key: Place, depth: int = 0) -> Node:
        """The structure below `value`, whose tensors' keys begin with that of `key`."""
        kind = value.__class__
        if kind is Tensor:
            self._count(key, depth)
            return self._tensor(value, key, depth)  # type: ignore[arg-type]
        if kind in _NAMED:
            self._count(key, depth)
            return self.other(value, key, depth)
        return super().node(value, key, depth)

    def other(self, value: object, key: Place, depth: int) -> Node:
        """Types and objects."""
        if isinstance(value, Dtype):
            return f"torch.{value.name}"
        if isinstance(value, Name):
            return Thing(value.full)
        if isinstance(value, Global):
            return Thing(value.name)
        if isinstance(value, (Storage, View)):
            storage = value if isinstance(value, Storage) else value.storage
            size = value.numel if isinstance(value, Storage) else value.size
            first = 0 if isinstance(value, Storage) else value.offset
            return self._tensor(Tensor(storage, storage.dtype or "uint8", (size,), first, (1,)), key, depth)
        return super().other(value, key, depth)

    def _key(self, value: object, depth: int = 0) -> Key:
        if isinstance(value, (str, int)):
            return super()._key(value, depth)
        if isinstance(value, Tensor):  # the state of a pickled optimizer is kept by parameter
            return identity(self._find(value, "a key"))
        if isinstance(value, (Opaque, Name, Dtype, Global)):
            return getattr(value, "full", None) or value.name
        return super()._key(value, depth)

    # -------------------------------------------------------------------------------------------------- tensors

    def _tensor(self, value: Tensor, key: Place, depth: int) -> Node:
        name = self._name(key)
        if value.storage is None and value.parts:
            fields: dict[Key, Node] = {
                part: self.node(each, (key, part), depth + 1) for part, each in value.parts.items()
            }
            return Thing(value.kind, (TensorRef(name, value.dtype, value.shape, None),), fields)
        location = self._find(value, name)
        if location is None and value.kind not in {"meta", UNRESOLVED} and value.dtype not in PACKED:
            self.lost.append(name)
        return TensorRef(name, value.dtype, value.shape, location)

    def _find(self, value: Tensor, name: str) -> Location | None:
        storage = value.storage
        if storage is None or value.kind == UNRESOLVED or value.dtype in PACKED:
            return None
        first, nbytes, plain = _extent(value.dtype, value.offset, value.shape, value.strides)
        if nbytes is None:
            raise self._odd(f"{name} has elements of the type {value.dtype}, which is not read")
        if not nbytes:
            return Inline(b"")  # torch lets an empty view begin anywhere
        held = storage.numel * (itemsize(storage.dtype) if storage.dtype else 1)
        if first + nbytes > held:
            raise self._odd(
                f"{name} ends at byte {first + nbytes:,} of its storage, which says that it has {held:,}: corrupt"
            )
        part = self._stored(storage)
        if part is None:
            return None
        if part.nbytes < held:
            raise self._odd(f"the storage of {name} should be {held:,} bytes and is {part.nbytes:,}: truncated")
        if isinstance(part, Coded):
            part = part._replace(skip=part.skip + first, nbytes=nbytes)
        elif first or nbytes != part.nbytes:
            part = part._replace(offset=part.offset + first, nbytes=nbytes)
        return part if plain or value.strides is None else Strided(part, value.strides)

    def _odd(self, message: str) -> UnreadableArtifact:
        return UnreadableArtifact(message, self._cursor.path, place="data.pkl")


def identity(location: Location | None) -> str:
    """Names a tensor by where its bytes are: two references to one parameter agree."""
    if isinstance(location, Strided):
        location = location.base
    if isinstance(location, (FileRange, Coded)):
        return f"<tensor at {location.offset}+{getattr(location, 'skip', 0)}>"
    return "<tensor>"


@lru_cache(4096)
def _extent(
    dtype: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...] | None
) -> tuple[int, int | None, bool]:
    """A view's first byte in its storage, and its bytes to the last; 0 if it is empty, None of types not known.

    And whether they lie one after the other in C order; the stride of a single element does not matter.
    """
    width = itemsize(dtype)
    if not width:
        return 0, None, True
    span, expected, plain = 1, 1, True
    for extent, stride in zip(reversed(shape), reversed(strides or ()), strict=True):
        span += (extent - 1) * stride
        plain = plain and (extent == 1 or stride == expected)
        expected *= extent
    return offset * width, span * width if prod(shape) else 0, plain
