"""Files of torch.save, directories of trainers and safetensors that lie about tensors, members, places and sizes."""

from __future__ import annotations

import io
import json
import os
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hostile.cases import MARKER, Expected, Family, Place, finding, harmless, suspect, unreadable
from hostile.torch_writing import DATA, Raw, called, code, named, pickled, sound, storage, stream, tensor, zipped

torch_files = Family("torch", "optimizer.pkl")


def file(name: str, data: Callable[[], bytes] | bytes, expected: Expected, ending: str = ".pt") -> None:
    """Registers a single file."""

    def build(place: Place) -> Path:
        path = place.own / f"model{ending}"
        path.write_bytes(data() if callable(data) else data)
        return path

    torch_files.add(name, build, expected)


def archive(content: Any) -> bytes:
    """What is in `content` as torch saves it."""
    return zipped(pickled(content))


def odd(write: Callable[[Any], bytes], **more: Any) -> Callable[[], bytes]:
    """A sound file but for something; some are large, and written when they are needed only."""
    return lambda: write(sound(**more))


# --------------------------------------------------------------------------------------------------------- 4: tensors

TENSORS: dict[str, tuple[Raw, Expected]] = {
    "begins outside": (tensor("0", (2, 2), numel=4, offset=3), unreadable("corrupt")),
    "begins before": (tensor("0", (2, 2), offset=-1), unreadable("no number")),
    "has strides outside": (tensor("0", (2, 2), stride=(100, 1)), unreadable("corrupt")),
    "has negative strides": (tensor("0", (2, 2), stride=(-2, 1)), unreadable("")),
    "has 2^64 elements": (tensor("0", (1 << 32, 1 << 32), numel=4), unreadable("")),
    "ends beyond 2^63": (tensor("0", (2,), numel=4, offset=1 << 61), unreadable("corrupt")),
    "has a negative shape": (tensor("0", (-2, 2)), unreadable("")),
    "has a shape of text": (tensor("0", ("a", 2), stride=(1, 1), numel=4), unreadable("")),
    "has a shape that is none": (tensor("0", None, stride=(), numel=4), unreadable("")),
    "has a rank of 100,000": (tensor("0", (1,) * 100_000, numel=4), unreadable("", cpu=6.0)),
    "has another number of strides": (tensor("0", (2, 2), stride=(1,)), unreadable("strides")),
    "has a storage that is larger": (tensor("0", (2, 2), numel=1 << 40), unreadable("truncated")),
    "has a storage of negative size": (tensor("0", (2, 2), numel=-4), unreadable("")),
    "has a storage of 2^70": (tensor("0", (2, 2), numel=1 << 70), unreadable("")),
    "has a storage of text": (tensor("0", (2, 2), numel="4"), unreadable("")),
    "has no storage": (tensor("77", (2, 2)), finding("I002", "storages of 1 tensors are missing")),
    "has a storage that climbs": (tensor("../../../secret/x", (2, 2)), finding("I002", "missing")),
    "has an unknown storage": (
        tensor("0", (2, 2), kind=Raw(named("torch", "OddStorage"))), unreadable("described by something"),
    ),
    "has a storage of an os": (tensor("0", (2, 2), kind=Raw(named("os", "FloatStorage"))), unreadable("")),
    "is made of nothing": (called("torch._utils", "_rebuild_tensor_v2"), unreadable("_rebuild_tensor_v2")),
    "is made of numbers": (called("torch._utils", "_rebuild_tensor_v2", 1, 2, 3, 4), unreadable("")),
    "is a reference of text": (Raw(b"X\3\0\0\0abcQ"), unreadable("")),
    "is a reference of one": (Raw(code(("storage",)) + b"Q"), unreadable("")),
    "is another reference": (Raw(storage("0", 4, tag="tag").code), unreadable("")),
    "has a type that is none": (
        called("torch._utils", "_rebuild_tensor_v3", storage("0", 4), 0, (2,), (1,), False, {}, 7), unreadable(""),
    ),
}  # fmt: skip
for _name, (_tensor, _expected) in TENSORS.items():
    file(f"a tensor that {_name}", odd(archive, x={"y": _tensor, "z": tensor("1", (4,))}), _expected)
    if "storage" not in _name or "class" in _name:
        file(f"a tensor that {_name}, in a stream", odd(stream, x=_tensor), suspect(cpu=6.0))
_WIDE = tensor("0", (1_000_000, 1_000_000), stride=(0, 0), numel=4)
file("a number that is expanded to 10^12", zipped(pickled(sound(x={"y": _WIDE}))), harmless("its bytes are four"))
file("a slot that is expanded to 10^12", zipped(pickled({
    "model": {"w": tensor("0", (2, 2))},
    "optimizer": {"state": {0: {"step": 7, "exp_avg": _WIDE, "exp_avg_sq": _WIDE}}, "param_groups": [{"params": [0]}]},
})), suspect())  # fmt: skip
file(
    "no elements, 2^62 long",
    zipped(pickled(sound(x={"y": tensor("0", (0, 1 << 61), numel=4)}))),
    harmless("it is empty"),
)

# ------------------------------------------------------------------------------------------- 6: what optimizers hold

OPTIMIZERS: dict[str, Any] = {
    "groups that are text": {"state": {}, "param_groups": "abc"},
    "no groups": {"state": {}, "param_groups": []},
    "groups of lists": {"state": {}, "param_groups": [[1]]},
    "parameters that are text": {"state": {0: {"step": 1}}, "param_groups": [{"lr": 1, "params": "abc"}]},
    "parameters twice": {"state": {0: {"step": 1}}, "param_groups": [{"lr": 1, "params": [0, 0]}, {"params": [0]}]},
    "state of nobody": {"state": {9: {"step": 1, "exp_avg": tensor("1", (2, 2))}}, "param_groups": [{"params": [0]}]},
    "state that is a list": {"state": [1, 2], "param_groups": [{"params": [0]}]},
    "a step of 2^70": {"state": {0: {"step": 1 << 70}}, "param_groups": [{"lr": 1, "params": [0]}]},
    "a negative step": {"state": {0: {"step": -5, "exp_avg": tensor("1", (2, 2))}}, "param_groups": [{"params": [0]}]},
    "a step of text": {"state": {0: {"step": "7", "exp_avg": tensor("1", (2, 2))}}, "param_groups": [{"params": [0]}]},
    "a step that is no number": {"state": {0: {"step": float("nan")}}, "param_groups": [{"params": [0]}]},
    "a step of four": {"state": {0: {"step": tensor("1", (2, 2))}}, "param_groups": [{"params": [0]}]},
    "rates that are none": {"state": {}, "param_groups": [{"lr": {"a": 1}, "betas": "xy", "params": [0]}]},
    "rates without end": {"state": {}, "param_groups": [{"lr": float("inf"), "betas": (float("nan"),), "params": [0]}]},
    "a million parameters": {"state": {}, "param_groups": [{"lr": 1, "params": list(range(300_000))}]},
}
for _name, _optimizer in OPTIMIZERS.items():
    file(f"an optimizer with {_name}", odd(archive, optimizer=_optimizer), suspect(cpu=8.0))

# ------------------------------------------------------------------------------------------------------ 7: containers


def _members(*members: tuple[str, bytes], packed: bool = False) -> bytes:
    out = io.BytesIO()
    with (
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # of names that stand twice
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


_SOUND = pickled(sound())
_ALL = [
    ("archive/data.pkl", _SOUND),
    *((f"archive/data/{key}", data) for key, data in DATA.items()),
    ("archive/version", b"3"),
]


def _flagged(data: bytes, *, flags: int = 0, method: int | None = None) -> bytes:
    """Every header, local and central, with other flags or another method."""
    changed = bytearray(data)
    for magic, at_flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = changed.find(magic)
        while at >= 0:
            struct.pack_into("<H", changed, at + at_flags, flags)
            if method is not None:
                struct.pack_into("<H", changed, at + at_flags + 2, method)
            at = changed.find(magic, at + 4)
    return bytes(changed)


file(
    "a data.pkl of 300 MB of zeros",
    lambda: _members(("archive/data.pkl", bytes(300 << 20)), packed=True),
    unreadable("", cpu=10.0),
)
file("packed storages", lambda: zipped(_SOUND, packed=True), finding("I007", "packed"))
file("two roots", _members(*_ALL, ("other/data.pkl", pickled({}))), finding("X004", "2 data.pkl"))
file("data.pkl twice", _members(*_ALL, ("archive/data.pkl", pickled({}))), suspect())
file("a storage twice", _members(*_ALL, ("archive/data/0", bytes(16))), suspect())
file("a member that climbs", _members(*_ALL, ("../../evil", b"x")), finding("X004", "evil"))
file("an absolute member", _members(*_ALL, ("/etc/evil", b"x")), finding("X004", "evil"))
file("encrypted members", _flagged(zipped(_SOUND), flags=1), suspect())
file("an unknown method", _flagged(zipped(_SOUND), method=99), suspect())
file("no data.pkl", _members(*_ALL[1:]), unreadable(""))
file("an empty data.pkl", _members(("archive/data.pkl", b""), *_ALL[1:]), unreadable(""))
file("a byte order of 1 MB", _members(*_ALL, ("archive/byteorder", b"x" * 1_000_000)), unreadable("byte order"))
file("storages that are cut", zipped(_SOUND, {**DATA, "0": b"abc"}), unreadable("truncated"))
for _share in (0.1, 0.5, 0.9, 0.99):
    file(
        f"an archive cut at {_share:.0%}", zipped(_SOUND)[: int(len(zipped(_SOUND)) * _share)], unreadable("truncated")
    )


def _wide(*, here: int = 0, count: int = 0, size: int = 0, start: int = 0, place: int = 0) -> bytes:
    """A sound archive with a zip64 end, as torch writes one, whose figures are off by so much."""
    data = zipped(_SOUND)
    at = data.rfind(b"PK\5\6")
    members, length, begin = struct.unpack_from("<H2L", data, at + 10)
    figures = (members + here, members + count, length + size, begin + start)
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, *figures)
    return data[:at] + end + struct.pack("<4sLQL", b"PK\6\7", 0, at + place, 1) + data[at:]


file("a zip64 end", _wide(), harmless("torch writes one"))
_FAR = 1 << 62
for _lie in ("here", "count", "size", "start", "place"):
    for _by in (_FAR, -1, 1):
        file(f"a zip64 end whose {_lie} is off by {_by}", _wide(**{_lie: _by}), unreadable(""))


def _local(at: int, kind: str, value: int) -> bytes:
    """A sound archive whose second storage has another figure in its local header."""
    data = bytearray(zipped(_SOUND))
    struct.pack_into(kind, data, data.find(b"PK\3\4", data.find(b"data/0")) + at, value)
    return bytes(data)


file("a local name of 64 kB", _local(26, "<H", 0xFFFF), unreadable(""))
file("a local extra field of 64 kB", _local(28, "<H", 0xFFFF), unreadable(""))

NAMES = {
    "a title of the terminal": "\x1b]0;x\x07w", "NUL": "a\0b", "a command of CI": "a\n::error::x", "C1": "a\x9b31mb",
    "directions": "a\u202eb", "line ends": "a\u0085b\u2028c", "nothing in it": "", "formats": "{0!r}%s{x}[bold]x[/]",
    "100,000 accents": "a" + "\u0301" * 100_000, "a megabyte": "n" * 1_000_000, "a surrogate": "a\udc80b",
}  # fmt: skip
for _name, _text in NAMES.items():
    _held = {_text: tensor("0", (2, 2)), "b": tensor("1", (4,))}
    _content = sound(model=_held, x={_text: _text, (1, _text): 1, _text.encode("utf-8", "ignore"): 2})
    file(
        f"a name of {_name}",
        zipped(pickled(_content)),
        unreadable("unfolds") if _name == "a megabyte" else harmless("it is a name"),
    )

STREAMS: dict[str, bytes] = {
    "another protocol": stream(sound(), version=1002),
    "a protocol of text": stream(sound(), version="1001"),
    "a system that is a list": stream(sound(), system=[1]),
    "keys that are missing": stream(sound(), keys=()),
    "keys twice": stream(sound(), keys=("0", "1", "0")),
    "keys of others": stream(sound(), keys=("0", "1", "x")),
    "keys that are a number": stream(sound(), keys=7),
    "a negative count": stream(sound(), counts=(-1, 4, 4)),
    "a count of 2^62": stream(sound(), counts=(1 << 62, 4, 4)),
    "another count": stream(sound(), counts=(3, 4, 4)),
}
for _name, _data in STREAMS.items():
    file(f"a stream with {_name}", _data, suspect() if _name == "keys that are missing" else unreadable(""))
for _cut in (1, 20, 200, len(stream(sound())) // 2):
    file(f"a stream cut by {_cut}", stream(sound())[:-_cut], unreadable(""))
file("a stream with more behind", stream(sound()) + b"more", finding("I007", "4 bytes behind the last storage"))

# ----------------------------------------------------------------------------------------------- 7: DCP directories

_META = "torch.distributed.checkpoint.metadata"


def _object(module: str, name: str, **fields: Any) -> Raw:
    return Raw(named(module, name) + b")\x81" + code(fields) + b"b")


def _entry(**told: Any) -> dict[str, Any]:
    """The metadata of one tensor of four numbers, with what is said of its place."""
    place = {"relative_path": "__0_0.distcp", "offset": 0, "length": len(_CHUNK), **told}
    properties = Raw(
        named(_META, "TensorProperties")
        + b")\x81"
        + code((Raw(named("torch", "float32")), None, False, None, False))
        + b"b"
    )
    size, sizes, start = (
        place.pop(key, default) for key, default in (("size", (4,)), ("sizes", (4,)), ("start", (0,)))
    )
    chunk = _object(_META, "ChunkStorageMetadata", offsets=start, sizes=sizes)
    described = _object(_META, "TensorStorageMetadata", properties=properties, size=size, chunks=[chunk])
    index = Raw(_object(_META, "MetadataIndex", fqn="model.w", offset=start, index=0).code)
    info = _object("torch.distributed.checkpoint.filesystem", "_StorageInfo", **place)
    return {
        "state_dict_metadata": {"model.w": described},
        "storage_data": {index: info},
        "planner_data": {"model.w": ("model", "w")},
    }


_CHUNK = zipped(pickled(tensor("0", (4,))), {"0": DATA["0"]})


def _directory(place: Place, told: Mapping[str, Any], data: bytes = _CHUNK) -> Path:
    folder = place.own / "saved"
    folder.mkdir()
    (folder / ".metadata").write_bytes(pickled(_object(_META, "Metadata", **_entry(**told))))
    (folder / "__0_0.distcp").write_bytes(data)
    return folder


def _elsewhere(place: Place, path: str) -> Path:
    """Sound data, but outside of the directory."""
    (place.secret / "data.distcp").write_bytes(_CHUNK)
    return _directory(place, {"relative_path": path.format(secret=place.secret)})


_WEIGHTS = "no optimizer state is here"
torch_files.add("a sound directory of weights", _directory, finding("S001", _WEIGHTS), {})
for _path in (
    "{secret}/data.distcp",
    "../../secret/data.distcp",
    "../saved/__0_0.distcp",
    "/dev/zero",
    "a\0b",
    "..",
    "",
    "a\\b",
):
    torch_files.add(f"a directory that reads {_path!r}", _elsewhere, unreadable("not in the directory"), _path)
torch_files.add("a directory whose data is its metadata", _directory, suspect(), {"relative_path": ".metadata"})
for _told in (
    {"offset": 1 << 40}, {"offset": -1}, {"length": 1 << 62}, {"length": 0}, {"length": "x"}, {"offset": None},
    {"size": (1 << 60,)}, {"size": (1 << 60,), "sizes": (1 << 60,)}, {"sizes": (9,)}, {"start": (2,)}, {"start": (-1,)},
    {"sizes": (2,)}, {"size": (2, 2), "sizes": (4,)}, {"size": "abc"}, {"relative_path": 7}, {"relative_path": "gone"},
):  # fmt: skip
    torch_files.add(f"a directory that says {_told}", _directory, suspect(), _told)
torch_files.add(
    "a directory of another tensor",
    _directory,
    suspect(),
    {},
    zipped(pickled(tensor("0", (2, 2))), {"0": DATA["0"]})[: len(_CHUNK)].ljust(len(_CHUNK), b"\0"),
)


def _linked(place: Place, target: str) -> Path:
    folder = _directory(place, {})
    (folder / "__0_0.distcp").unlink()
    os.symlink(target, folder / "__0_0.distcp")
    return folder


torch_files.add("a directory whose data is a device", _linked, suspect(), "/dev/zero")
torch_files.add("a directory whose data is itself", _linked, suspect(), "__0_0.distcp")

# ------------------------------------------------------------------------------------------------------- 7: trainers


def _trainer(place: Place, name: str, data: bytes) -> Path:
    folder = place.own / "checkpoint-7"
    folder.mkdir()
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 7, "max_steps": 9, "epoch": 1.0}))
    (folder / "optimizer.pt").write_bytes(zipped(pickled(sound()["optimizer"])))
    (folder / "scheduler.pt").write_bytes(zipped(pickled({"last_epoch": 7, "_step_count": 8})))
    if "index" not in name:
        (folder / "pytorch_model.bin").write_bytes(zipped(pickled(sound()["model"])))
    (folder / name).write_bytes(data)
    (place.secret / "model.bin").write_bytes(zipped(pickled(sound()["model"])))
    return folder


def _index(shard: Any) -> bytes:
    return json.dumps({"weight_map": {"w": shard}}).encode()


for _name, _data in {
    "optimizer.pt": b"", "scheduler.pt": b"version https://git-lfs.github.com/spec/v1\n",
    "pytorch_model.bin": b"<html>",
    "rng_state.pth": b"PK\3\4", "trainer_state.json": b"[" * 100_000, "config.json": b"{" * 100_000,
}.items():  # fmt: skip
    torch_files.add(f"a trainer's {_name} of {_data[:8]!r}", _trainer, suspect(), _name, _data)
for _shard in ("../../secret/model.bin", "/etc/passwd", "/dev/zero", "http://a/b", "a\0b", "..", ".", 7, None, ["a"]):
    torch_files.add(
        f"a trainer's index that names {_shard!r}", _trainer, suspect(), "pytorch_model.bin.index.json", _index(_shard)
    )
torch_files.add(
    "a trainer's index of 100,000 shards", _trainer, unreadable("shards", cpu=6.0), "pytorch_model.bin.index.json",
    json.dumps({"weight_map": {f"w{at}": f"m{at}" for at in range(100_000)}}).encode(),
)  # fmt: skip

# ---------------------------------------------------------------------------------------------------- 7: safetensors


def _safetensors(header: Any, data: bytes = bytes(16), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


_W = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
SAFETENSORS: dict[str, bytes] = {
    **{
        f"a length of {length}": _safetensors({"w": _W}, length=length)
        for length in (0, 1, 1 << 63, (1 << 64) - 1, 99_999_999)
    },
    "seven bytes": b"\1\0\0\0\0\0\0",
    "a header that is a list": _safetensors(b"[1]" + b" " * 9),
    "a header that is no JSON": _safetensors(b"{nothing}"),
    "a header that is no UTF-8": _safetensors(b'{"\xff\xfe":1}'),
    "a deep header": _safetensors(b'{"a":' * 100_000),
    "a number of 5,000 digits": _safetensors(
        b'{"w":{"dtype":"F32","shape":[' + b"9" * 5_000 + b'],"data_offsets":[0,16]}}'
    ),
    "a name twice": _safetensors(b'{"w":%s,"w":%s}' % ((json.dumps(_W).encode(),) * 2)),
    "a tensor beyond": _safetensors({"w": {**_W, "data_offsets": [8, 24]}}),
    "reversed offsets": _safetensors({"w": {**_W, "data_offsets": [16, 0]}}),
    "negative offsets": _safetensors({"w": {**_W, "data_offsets": [-16, 0]}}),
    "offsets that overflow": _safetensors({"w": {**_W, "data_offsets": [0, (1 << 64) + 16]}}),
    "a shape against its bytes": _safetensors({"w": {**_W, "shape": [2, 3]}}),
    "a negative shape": _safetensors({"w": {**_W, "shape": [-2, -2]}}),
    "a shape of fractions": _safetensors({"w": {**_W, "shape": [2.0, 2.0]}}),
    "an unknown type": _safetensors({"w": {**_W, "dtype": "F99"}}),
    "a type that is a list": _safetensors({"w": {**_W, "dtype": ["F32"]}}),
    "a tensor that is text": _safetensors({"w": "abc"}),
    "bytes behind": _safetensors({"w": _W}, bytes(20)),
    "an end that is cut": _safetensors({"w": _W}, bytes(15)),
    "two on each other": _safetensors({"w": _W, "v": _W}),
}
for _name, _data in SAFETENSORS.items():
    file(f"safetensors with {_name}", _data, unreadable("", cpu=4.0), ".safetensors")
file(
    "safetensors with metadata that is a list", _safetensors({"__metadata__": [1], "w": _W}), suspect(), ".safetensors"
)
file(
    "safetensors with names of control characters", _safetensors({f"\x1b[31m\u202e::error::{MARKER}": _W}),
    finding("S001", ""), ".safetensors",
)  # fmt: skip
