"""SavedModels whose protobufs lie (class 39), and whose variables are what `bundles` makes of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from hostile.bundles import root
from hostile.cases import MARKER, Family, Place, finding, harmless, suspect, unreadable
from support.bundles import varint
from support.objects import keras2, model, variables
from support.saved_models import field, write_saved_model

protobufs = Family("saved model", "savedmodel")


def healthy(place: Place) -> Path:
    """A SavedModel with a complete Adam."""
    net = model()
    net.children["optimizer"] = keras2(variables(net))
    config = {"class_name": "Adam", "config": {"learning_rate": 0.001}}
    return Path(write_saved_model(place.own / "model", net, config=config))


def spoiled(make: Callable[[bytes], bytes], file: str = "saved_model.pb") -> Callable[[Place], Path]:
    """Builds a SavedModel with another file in it."""

    def build(place: Place) -> Path:
        folder = healthy(place)
        path = folder / file
        path.write_bytes(make(path.read_bytes()))
        return folder

    return build


def _nested(depth: int) -> bytes:
    """Messages in messages, in MetaGraphDef's object graph."""
    data = b""
    for _ in range(depth):
        data = field(7, data)
    return data


_PROTOS: dict[str, Callable[[bytes], bytes]] = {
    "random bytes": lambda _: random.Random(7).randbytes(4096),
    "nothing": lambda _: b"",
    "a field past the end": lambda data: data + b"\x12" + varint(1 << 40),
    "a field of 2^64 bytes": lambda data: data + b"\x12" + b"\xff" * 9 + b"\x01",
    "a varint of eleven bytes": lambda data: data + b"\x08" + b"\xff" * 10 + b"\x01",
    "a group that never ends": lambda data: data + b"\x13" * 1000,
    "field number 0": lambda data: data + b"\x02\x01x",
    "cut": lambda data: data[: len(data) // 2],
}
for _name, _make in _PROTOS.items():
    protobufs.add(f"saved_model.pb: {_name}", spoiled(_make), suspect())
    protobufs.add(
        f"keras_metadata.pb: {_name}",
        spoiled(_make, "keras_metadata.pb"),
        unreadable("no Keras metadata") if _name != "nothing" else harmless("it only names the class"),
    )
protobufs.add(
    "saved_model.pb: 10,000 deep",
    spoiled(lambda _: b"\x08\x01" + field(2, _nested(10_000))),
    harmless("fields that nobody knows are skipped, by protobuf too"),
)


@protobufs.case("saved_model.pb: a version with control characters", harmless("it is shown escaped", says="\\x1b"))
def _(place: Place) -> Path:
    folder = spoiled(lambda _: b"\x08\x01" + field(2, field(1, field(5, b"2.10\x1b]0;x\x07\n::error::%0A"))))(place)
    (folder / "keras_metadata.pb").unlink()  # which would tell Keras' version
    return folder


protobufs.add(
    "keras_metadata.pb: deep JSON",
    spoiled(lambda _: field(1, field(3, b"root") + field(5, b"[" * 60_000)), "keras_metadata.pb"),
    unreadable("JSON"),
)
protobufs.add(
    "keras_metadata.pb: code",
    spoiled(
        lambda _: field(1, field(3, b"root") + field(5, f'{{"class_name": "{MARKER}"}}'.encode())),
        "keras_metadata.pb",
    ),
    harmless("it only names the class"),
)


@protobufs.case("no variables", suspect())
def _(place: Place) -> Path:
    folder = healthy(place)
    for each in (folder / "variables").iterdir():
        each.unlink()
    return folder


@protobufs.case("a graph that is a folder", unreadable(""))
def _(place: Place) -> Path:
    folder = healthy(place)
    (folder / "saved_model.pb").unlink()
    (folder / "saved_model.pb").mkdir()
    return folder


@protobufs.case("a graph of 1 GB of nothing", suspect())
def _(place: Place) -> Path:
    folder = healthy(place)
    with open(folder / "saved_model.pb", "r+b") as file:
        file.truncate(1 << 30)
    return folder


__all__ = ["finding", "protobufs", "root"]
