"""Pickles that would run code or never end, npy and npz that lie, PyTorch and safetensors files (classes 40 to 43)."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hostile.cases import FIXTURES, MARKER, Family, Place, finding, harmless, suspect, unreadable

pickles = Family("pickle", "optimizer.pkl")


class Runs:
    """Unpickles to the call of a function."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[object, ...]]:
        return self.call


def named(name: str, file: str, data: bytes | Callable[[], bytes], expected: Any) -> None:
    """Registers a file."""

    def build(place: Place) -> Path:
        path = place.own / file
        path.write_bytes(data() if callable(data) else data)
        return path

    pickles.add(name, build, expected)


# ----------------------------------------------------------------------------------------------- pickles: classes 41

_STATE = [np.int64(7), np.ones((3, 4), np.float32)]

for _protocol in range(6):
    named(
        f"os.system by REDUCE, protocol {_protocol}",
        "o.pkl",
        pickle.dumps([*_STATE, Runs(os.system, f"echo {MARKER}")], _protocol),
        suspect("posix"),
    )
named("eval", "o.pkl", pickle.dumps(Runs(eval, f"'{MARKER}'"), 2), suspect("eval"))
named("exec through BUILD", "o.pkl", b"\x80\x02cbuiltins\nexec\n(X\x0f\0\0\0HOSTILE_PAYLOADtR}b.", suspect("exec"))
named(
    "STACK_GLOBAL by memo",
    "o.pkl",
    b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94h\0h\1\x93\x8c\x02ls\x85R.",
    suspect("posix"),
)
named("INST", "o.pkl", b"(S'ls'\nios\nsystem\n.", suspect())
named("OBJ", "o.pkl", b"\x80\x02(cos\nsystem\nX\x02\0\0\0lso.", suspect())
named("NEWOBJ_EX", "o.pkl", b"\x80\x04csubprocess\nPopen\n)}\x92.", suspect("subprocess"))
named("an extension code", "o.pkl", b"\x80\x02\x82\x01.", unreadable(""))
named("a persistent id", "o.pkl", b"\x80\x02X\x01\0\0\0aQ.", unreadable(""))
named("a name with control characters", "o.pkl", b"\x80\x02cos\x1b[31m\x07\nsys\xe2\x80\xaetem\n)R.", suspect())
named("a text of 2^60 bytes", "o.pkl", b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"x.", unreadable(""))
named("bytes of 4 GB", "o.pkl", b"\x80\x03B\xff\xff\xff\xffx.", unreadable(""))
named("a frame of 2^60 bytes", "o.pkl", b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.", unreadable(""))
named("an int of 2^31 bytes", "o.pkl", b"\x80\x02\x8b\xff\xff\xff\x7fx.", unreadable(""))
named("an int of 100,000 digits", "o.pkl", b"(lp0\nL" + b"9" * 100_000 + b"L\na.", suspect())
named("nothing on the stack", "o.pkl", b"\x80\x02R.", unreadable(""))
named("no end", "o.pkl", pickle.dumps(_STATE)[:-1], unreadable(""))
named("cut in an array", "o.pkl", pickle.dumps(_STATE, 4)[:-40], unreadable(""))
named("100,000 lists in each other", "o.pkl", b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", suspect())
named("100,000 marks", "o.pkl", b"\x80\x02" + b"(" * 100_000 + b".", unreadable(""))
named("a list that holds itself", "o.pkl", b"\x80\x02]q\0h\0a.", suspect())


def _memo() -> bytes:
    """A list of two lists, fifty times: 2^50 elements."""
    out = b"\x80\x02]q\0"
    for number in range(50):
        out += b"]q" + bytes((number + 1,)) + (b"h" + bytes((number,)) + b"a") * 2
    return out + b"."


named("2^50 elements by memo", "o.pkl", _memo, suspect())
named(
    "an array of objects that runs code",
    "o.pkl",
    pickle.dumps(np.array([Runs(os.system, MARKER)], object), 2),
    suspect(),
)


def _array(shape: tuple[int, ...], dtype: str, data: bytes) -> bytes:
    """A pickled array whose state says this."""
    plain = pickle.dumps(np.zeros(2, np.float32), 2)
    assert plain
    make = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R"
    state = pickle.dumps((1, shape), 2)[2:-1]
    kind = (
        b"cnumpy\ndtype\nU"
        + bytes((len(dtype),))
        + dtype.encode()
        + b"K\0K\1\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    )
    text = b"T" + struct.pack("<i", len(data)) + data
    return (
        b"\x80\x02"
        + make
        + b"(K\x01"
        + state[state.index(b"K\x01") + 2 : state.rindex(b"\x86")]
        + kind
        + b"\x89"
        + text
        + b"tb."
    )


named("an array of another length", "o.pkl", _array((1 << 40,), "f4", b"x" * 16), suspect())
named("an array of negative shape", "o.pkl", _array((-4,), "f4", b"x" * 16), suspect())
named("an array of an unknown type", "o.pkl", _array((4,), "Q99", b"x" * 16), suspect())

# ------------------------------------------------------------------------------------------- npy and npz: classes 43


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """An npy file with this header."""
    text = header.encode("latin-1") + b"\n"
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + length + text + data


def npz(**members: bytes) -> bytes:
    """An npz archive of these members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return stream.getvalue()


_OBJECTS = npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", pickle.dumps(Runs(os.system, MARKER), 2))
_HEADERS = {
    "a call in the header": f"{{'descr': __import__('os').system('{MARKER}'), 'fortran_order': False, 'shape': (1,)}}",
    "a shape of 2^90": "{'descr': '<f4', 'fortran_order': False, 'shape': (1073741824, 1073741824, 1073741824)}",
    "a negative shape": "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
    "a shape of texts": "{'descr': '<f4', 'fortran_order': False, 'shape': ('a',)}",
    "no shape": "{'descr': '<f4', 'fortran_order': False}",
    "brackets 20,000 deep": "(" * 20_000,
    "an unknown type": "{'descr': '<Z9', 'fortran_order': False, 'shape': (1,)}",
    "control characters": "{'descr': '\x1b[31m\x07', 'fortran_order': False, 'shape': (1,)}",
}
for _name, _header in _HEADERS.items():
    named(f"npy: {_name}", "o.npy", npy(_header, b"\0" * 64), unreadable(""))
named("npy: objects that run code", "o.npy", _OBJECTS, suspect())
named("npy: cut", "o.npy", npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99,)}", b"\0" * 8), unreadable(""))
named("npy: a header of 4 GB", "o.npy", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", unreadable(""))
named("npz: objects that run code", "o.npz", npz(arr_0=_OBJECTS), suspect())
named(
    "npz: an escaping name",
    "o.npz",
    npz(**{"../../evil": npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", b"\0" * 4)}),
    suspect(),
)
named(
    "npz: a bomb",
    "o.npz",
    lambda: npz(arr_0=npy("{'descr': '<f4', 'fortran_order': False, 'shape': (67108864,)}", bytes(256 << 20))),
    suspect(),
)

# ---------------------------------------------------------------------------------------- PyTorch and safetensors


def safetensors(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with this header."""
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def _tensor(start: int, end: int, shape: tuple[int, ...] = (4,)) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": (start, end)}


named("safetensors: a header of 2^62 bytes", "m.safetensors", safetensors(b"{}", length=1 << 62), unreadable(""))
named(
    "safetensors: overlap",
    "m.safetensors",
    safetensors(json.dumps({"a": _tensor(0, 16), "b": _tensor(8, 24)}).encode(), bytes(24)),
    unreadable(""),
)
named(
    "safetensors: holes",
    "m.safetensors",
    safetensors(json.dumps({"a": _tensor(64, 80)}).encode(), bytes(99)),
    unreadable(""),
)
named("safetensors: a name twice", "m.safetensors", safetensors(b'{"a":1,"a":2}'), unreadable(""))


def _torch(data: bytes, name: str = "archive/data.pkl", more: str = "archive/data/0", flags: int = 0) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, data)
        archive.writestr(more, b"\0" * 16)
    out = bytearray(stream.getvalue())
    at = out.index(b"PK\x01\x02")
    out[at + 8] |= flags
    return bytes(out)


named(
    "torch: another extension",
    "optimizer.npz",
    _torch(pickle.dumps(Runs(os.system, MARKER), 2)),
    finding("X003", "system"),
)
named(
    "a healthy dump",
    "o.pkl",
    (FIXTURES / "optimizer.pkl").read_bytes(),
    harmless("it is one", says="iteration 7"),
)

__all__ = ["finding", "pickles"]
