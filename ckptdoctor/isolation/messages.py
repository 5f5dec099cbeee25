"""What a worker and its parent say to each other: a length, then a pickle, over a pipe each way.

The worker trusts its parent. The parent does not trust the worker, which a hostile file may have taken over: of its
answers only plain values and ckptdoctor's own data types are built, and nothing of theirs is called.
"""

from __future__ import annotations

import io
import os
import pickle
import select
import struct
import sys
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from operator import is_
from typing import Any

from ckptdoctor.errors import CkptDoctorError

MAX_MESSAGE = 1 << 30
_LENGTH = struct.Struct("<Q")
_OWN = "ckptdoctor."
_BUILTINS: dict[str, type] = {"MemoryError": MemoryError, "RecursionError": RecursionError, "complex": complex}
_OS_ERRORS: list[type[OSError]] = [OSError, *OSError.__subclasses__()]
_SYSTEM_ERRORS = {each.__name__: each for each in _OS_ERRORS if each.__module__ == "builtins"}


class Garbled(Exception):
    """An answer that no worker gives: it was taken over, or its memory is damaged."""


def send(descriptor: int, message: object, patience: float | None = None) -> None:
    """Writes a message.

    Args:
        descriptor: The pipe.
        message: What is said.
        patience: Seconds that the other side may take to read a piece of it; None for any time.

    Raises:
        BrokenPipeError: Nobody reads any more.
        TimeoutError: It is not read.
    """
    body = packed(message)
    view = memoryview(_LENGTH.pack(len(body)) + body)
    if patience is None or sys.platform == "win32":
        while view:
            view = view[os.write(descriptor, view) :]
        return
    while view:
        if not select.select([], [descriptor], [], patience)[1]:
            raise TimeoutError
        view = view[os.write(descriptor, view[: select.PIPE_BUF]) :]  # so much does not block


def packed(message: object) -> bytes:
    """A message as the other side takes it: without what the program registers with `copyreg`, as tblib for errors."""
    written = io.BytesIO()
    pickler = pickle.Pickler(written, 5)
    pickler.dispatch_table = {}
    pickler.dump(message)
    return written.getvalue()


def receive(descriptor: int, load: Callable[[bytes], Any]) -> Any:
    """Reads a message.

    Args:
        descriptor: The pipe.
        load: `trusted` or `distrusted`.

    Raises:
        EOFError: The other side is gone.
        Garbled: What came is no message.
    """
    (length,) = _LENGTH.unpack(_exactly(descriptor, _LENGTH.size))
    if length > MAX_MESSAGE:
        raise Garbled(f"a message of {length:,} bytes")
    return load(_exactly(descriptor, length))


def _exactly(descriptor: int, count: int) -> bytes:
    parts: list[bytes] = []
    while count:
        part = os.read(descriptor, min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def trusted(data: bytes) -> Any:
    """What the parent asked: a function by its name, and its arguments."""
    return pickle.loads(data)  # noqa: S301 - the worker's own parent wrote it


def distrusted(data: bytes) -> Any:
    """What the worker answered.

    Raises:
        Garbled: It is no pickle, or names anything but data types.
    """
    reader = _DataOnly(io.BytesIO(data))
    try:
        answer = reader.load()
    except Exception as error:
        reader.mend()
        raise Garbled(str(error)) from error
    changed = reader.mend()
    if changed:
        raise Garbled(f"changes {', '.join(changed)}")
    return answer


class _DataOnly(pickle.Unpickler):
    """Builds plain values, named tuples, frozen dataclasses, enumerations and errors of this package.

    Opcode BUILD sets attributes of whatever the pickle names, types and members of enumerations too. So each of them
    is held against what it was before, and is made so again: a worker that was taken over stays one lost file.
    """

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self._before: dict[type[object], tuple[dict[str, object], dict[Enum, dict[str, object]]]] = {}

    def mend(self) -> list[str]:
        """Undoes what was changed in types and their members; answers their names."""
        changed: list[str] = []
        for kind, (attributes, members) in self._before.items():
            now = vars(kind)
            if len(now) == len(attributes) and all(map(is_, now.values(), attributes.values())):
                different = []  # values that are the same ones, in their order, have their names
            else:
                names = now.keys() | attributes.keys()
                different = [name for name in names if _of(now, name) is not _of(attributes, name)]
            for name in different:
                if name in attributes:
                    type.__setattr__(kind, name, attributes[name])
                else:
                    type.__delattr__(kind, name)
            strange = [each for each, held in members.items() if vars(each) != held]
            for each in strange:
                vars(each).clear()
                vars(each).update(members[each])
            if different or strange:
                changed.append(kind.__qualname__)
        return changed

    def find_class(self, module: str, name: str) -> Any:
        found: object
        if (module, name) == ("builtins", "getattr"):
            found = _member  # how Python 3.11.0 to 3.11.3 pickles the member of an enumeration
        elif module == "builtins":
            found = _BUILTINS.get(name) or _SYSTEM_ERRORS.get(name)
        else:
            found = _own_type(module, name)
        if found is None:
            raise pickle.UnpicklingError(f"names {module}.{name}")
        if isinstance(found, type) and found not in self._before:
            members = {each: dict(vars(each)) for each in found} if issubclass(found, Enum) else {}
            self._before[found] = dict(vars(found)), members
        return found


_NOTHING = object()


def _of(attributes: Mapping[str, object], name: str) -> object:
    return attributes.get(name, _NOTHING)


def _member(kind: object, name: object) -> Enum:
    """A member of an enumeration, and nothing else that `getattr` would answer."""
    if isinstance(kind, type) and issubclass(kind, Enum) and isinstance(name, str) and name in kind.__members__:
        return kind.__members__[name]
    raise pickle.UnpicklingError("names builtins.getattr of no enumeration")


@lru_cache(1024)  # of a worker that was taken over, too
def _own_type(module: str, name: str) -> type[object] | None:
    if not module.startswith(_OWN):
        return None
    import importlib

    found = getattr(importlib.import_module(module), name, None)
    if not isinstance(found, type) or found.__module__ != module:
        return None
    is_data = issubclass(found, (tuple, Enum, CkptDoctorError)) or hasattr(found, "__dataclass_fields__")
    return found if is_data else None
