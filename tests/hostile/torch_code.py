"""Pickles of torch.save that run code, in every place where one may stand; and those that never end."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile.cases import MARKER, Expected, Family, Place, finding, harmless, suspect, unreadable
from hostile.torch_writing import (
    MAGIC,
    RUNS,
    SYSTEM,
    Raw,
    called,
    code,
    named,
    pickled,
    sound,
    storage,
    stream,
    tensor,
    text,
    zipped,
)

torch_code = Family("torch", "optimizer.pkl")
REDUCE = RUNS["REDUCE"]
X003 = finding("X003", "system")


def file(name: str, data: Callable[[], bytes] | bytes, expected: Expected, ending: str = ".pt") -> None:
    """Registers a single file."""

    def build(place: Place) -> Path:
        path = place.own / f"model{ending}"
        path.write_bytes(data() if callable(data) else data)
        return path

    torch_code.add(name, build, expected)


SAYS = {
    "REDUCE of Python 2": "__builtin__.eval", "subprocess": "subprocess.check_output", "getattr": "__import__",
    "a lazy call": "posix.system", "a dotted name": "os.system", "pickle.loads": "pickle.loads",
    "add_extension": "copyreg.add_extension", "a profiler": "cProfile.run", "operator": "operator.methodcaller",
    "torch.hub": "torch.hub.load", "numpy's runstring": "runstring",
}  # fmt: skip

file("a sound file", zipped(pickled(sound())), harmless("nothing is wrong with it"))
file("a sound stream", stream(sound()), harmless("nothing is wrong with it"))
for _name, _code in RUNS.items():
    _says = finding("X003", SAYS.get(_name, "posix.system"))
    file(f"code by {_name}", zipped(pickled(sound(extra=_code), 4)), _says)
    file(f"code by {_name}, in a stream", stream(sound(extra=_code)), _says)

PLACES: dict[str, Any] = {
    "a key": sound(x={Raw(code((REDUCE,))): 1}),
    "a value that is dropped": Raw(REDUCE.code + b"0" + code(sound())),
    "the argument of a storage": sound(x=Raw(storage(REDUCE, 1).code + b"0N")),
    "the class of a storage": sound(x=Raw(storage("9", 1, kind=Raw(named("posix", "system"))).code + b"0N")),
    "the hooks of a tensor": sound(
        x=called("torch._utils", "_rebuild_tensor_v2", storage("0", 4), 0, (2,), (1,), False, REDUCE)
    ),
    "hyperparameters": sound(hyper_parameters={"x": [REDUCE]}),
    "a scheduler": sound(scheduler={"last_epoch": 1, "_step_count": 2, "lr_lambdas": [REDUCE]}),
    "a group": sound(optimizer={"state": {}, "param_groups": [{"lr": REDUCE, "params": [0]}]}),
}
for _name, _content in PLACES.items():
    _dropped = _name in {"the argument of a storage", "the class of a storage"}
    file(f"code in {_name}", zipped(pickled(_content)), suspect() if _dropped or _name == "a key" else X003)
file("code behind the end", zipped(pickled(sound()) + pickled(REDUCE)), finding("I007", "behind the end of the pickle"))
for _at, _part in enumerate(("version", "system", "keys"), start=2):
    _more: dict[str, Any] = {_part: REDUCE}
    file(f"code in the {_part} of a stream", stream(sound(), **_more), suspect())


def _distributed(place: Place, metadata: bytes) -> Path:
    (place.own / ".metadata").write_bytes(metadata)
    (place.own / "__0_0.distcp").write_bytes(zipped(pickled(1), {}))
    return place.own


def _metadata(**fields: Any) -> bytes:
    head = named("torch.distributed.checkpoint.metadata", "Metadata") + b")\x81"
    return pickled(
        Raw(head + code({"state_dict_metadata": {}, "storage_data": {}, "planner_data": {}, **fields}) + b"b")
    )


torch_code.add("code in .metadata", _distributed, X003, _metadata(extra=REDUCE))
torch_code.add("nothing but code in .metadata", _distributed, suspect(), pickled(REDUCE))


def _trainer(place: Place, part: str, data: bytes) -> Path:
    (place.own / "trainer_state.json").write_text(json.dumps({"global_step": 7, "epoch": 1.0}))
    (place.own / "pytorch_model.bin").write_bytes(zipped(pickled(sound()["model"])))
    (place.own / "optimizer.pt").write_bytes(zipped(pickled(sound()["optimizer"])))
    (place.own / part).write_bytes(data)
    return place.own


for _part in ("rng_state.pth", "training_args.bin", "scheduler.pt", "optimizer.pt", "pytorch_model.bin", "scaler.pt"):
    torch_code.add(
        f"code in {_part}", _trainer, X003, _part, zipped(pickled(sound(x=REDUCE)["optimizer"] | {"x": REDUCE}))
    )


def _oldest(_: str = "") -> bytes:
    import tarfile

    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        parts = (
            ("sys_info", pickled(SYSTEM)),
            ("pickle", pickled(REDUCE)),
            ("storages", pickled(0)),
            ("tensors", pickled(0)),
        )
        for name, data in parts:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


file("code in the oldest archive", _oldest, suspect())

# ------------------------------------------------------------------------------------------------ without an end: 3


def _bomb(kind: bytes, levels: int = 200) -> Raw:
    """Each level holds the one below twice: 2^levels values, in a few bytes."""
    opened = b"(Kt" if kind == b"t" else b""
    body = b"]q\1"
    for _ in range(levels):
        body += b"(h\1h\1tq\1" if kind == b"t" else b"](h\1h\1eq\1"
    return Raw(opened[:0] + body)


def _deep(opening: bytes, closing: bytes, levels: int = 100_000) -> Raw:
    return Raw(opening * levels + b"N" + closing * levels)


CLIMBS = {
    "a bomb of tuples": sound(x=_bomb(b"t")),
    "a bomb of lists": sound(x=_bomb(b"l")),
    "a bomb as a key": sound(x={_bomb(b"t"): 1}),
    "a bomb as parameters": sound(optimizer={"state": {}, "param_groups": [{"lr": 1, "params": _bomb(b"l")}]}),
    "a bomb as state": sound(optimizer={"state": _bomb(b"l"), "param_groups": [{"lr": 1, "params": [0]}]}),
    "deep tuples": sound(x=_deep(b"", b"\x85")),
    "deep lists": sound(x=Raw(b"]" * 100_000 + b"a" * 99_999)),
    "deep dictionaries": sound(x=Raw(b"}K\1" * 100_000 + b"N" + b"s" * 100_000)),
    "a deep key": sound(x={_deep(b"", b"\x85"): 1}),
    "a million marks": Raw(b"(" * 1_000_000 + b"N"),
    "a list in itself": sound(x=Raw(b"]q\1h\1a")),
    "a state in itself": sound(optimizer=Raw(b"}q\1(" + text("state") + b"h\1" + text("param_groups") + b"]u")),
}
for _name, _content in CLIMBS.items():
    file(_name, zipped(pickled(_content)), suspect(cpu=10.0))
file("a bomb in a stream's system", stream(sound(), system=_bomb(b"t")), suspect(cpu=10.0))

LIES: dict[str, bytes] = {
    "a text of 4 GB": b"X\xff\xff\xff\xffabc.",
    "a text of 2^64": b"\x8d" + b"\xff" * 8 + b"abc.",
    "bytes of 2^64": b"\x8e" + b"\xff" * 8 + b"abc.",
    "a bytearray of 2^64": b"\x96" + b"\xff" * 8 + b"abc.",
    "a number of 2^31 bytes": b"\x8b\xff\xff\xff\x7fabc.",
    "a number of negative length": b"\x8b\xff\xff\xff\xffabc.",
    "a memo of 2^32": b"Nr\xff\xff\xff\xff.",
    "a memo of 20 digits": b"Np99999999999999999999\n.",
    "nothing in the memo": b"h\5.",
    "an empty stack": b".",
    "no mark": b"Nt.",
    "a mark alone": b"(.",
    "a value on a number": b"K\1K\2a.",
    "items on a list": b"](K\1K\2u.",
    "state on a number": b"K\1}b.",
    "a list as a key": b"}]K\1s.",
    "no end": b"]K\1a",
    "an unknown opcode": b"\xff.",
    "a frame that lies": b"\x95\xff\xff\xff\xff\0\0\0\0N.",
    "a number of 100,000 digits": b"I" + b"9" * 100_000 + b"\n.",
    "no number": b"Iabc\n.",
    "no float": b"Fabc\n.",
    "a global of numbers": b"K\1K\2\x93.",
    "an out-of-band buffer": b"\x97.",
    "nothing": b"",
}
for _name, _body in LIES.items():
    _read = "memo of" in _name  # the place in the memo is but a name
    file(f"a pickle with {_name}", zipped(b"\x80\x04" + _body), suspect(cpu=4.0) if _read else unreadable("", cpu=4.0))
for _name in ("a text of 4 GB", "no end", "an empty stack", "nothing"):
    file(f"a stream with {_name}", MAGIC + pickled(1001) + pickled(SYSTEM) + b"\x80\x02" + LIES[_name], unreadable(""))


def _beside(name: str, data: bytes) -> bytes:
    out = io.BytesIO(zipped(pickled(sound())))
    with zipfile.ZipFile(out, "a") as archive:
        archive.writestr(name, data)
    return out.getvalue()


file(
    "code in a member that nobody reads",
    lambda: _beside("archive/extra.pkl", pickled(REDUCE)),
    harmless("torch does not read it either"),
)
file(
    "names of control characters",
    zipped(pickled(sound(**{"\x1b[31m\u202e\x07": 1.5, f"{MARKER}::error::": tensor("0", (4,))}))),
    harmless("they are shown as text"),
)
