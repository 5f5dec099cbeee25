"""`.keras` archives whose zip lies, bombs or escapes, and whose configuration does (classes 17 to 27)."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py as _h5py
from hostile.cases import FIXTURES, MARKER, Family, Place, finding, harmless, unreadable

h5py: Any = _h5py
archives = Family("zip", "keras3.keras")

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def members() -> dict[str, bytes]:
    """The members of a healthy archive."""
    with zipfile.ZipFile(FIXTURES / "keras3.keras") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(content: Mapping[str, bytes], *more: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of these members, and then of more, which may repeat names."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", method) as archive:
        warnings.simplefilter("ignore", UserWarning)  # of names that come twice
        for name, data in (*content.items(), *more):
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return stream.getvalue()


def kept(place: Place, data: bytes | bytearray) -> Path:
    """Writes an archive."""
    path = place.own / "model.keras"
    path.write_bytes(data)
    return path


def patched(place: Place, change: Callable[[bytearray], object]) -> Path:
    """A healthy archive with some bytes changed."""
    data = bytearray(zipped(members()))
    change(data)
    return kept(place, data)


def central(data: bytearray, name: str) -> int:
    """Where a member's entry of the central directory begins."""
    at = data.index(b"PK\x01\x02")
    while data[at + 46 : at + 46 + len(name)] != name.encode():
        at = data.index(b"PK\x01\x02", at + 4)
    return at


def configured(place: Place, config: bytes | object, name: str = CONFIG) -> Path:
    """An archive with another configuration."""
    data = config if isinstance(config, bytes) else json.dumps(config).encode()
    return kept(place, zipped({**members(), name: data}))


# --------------------------------------------------------------------------------------------- names: classes 17, 19

for _name in ("../../evil", "/etc/evil", "..\\evil", "C:\\evil", "assets/../../x"):
    archives.add(
        f"escaping member {_name}",
        lambda place, name: kept(place, zipped(members(), (name, b"x"))),
        finding("X004", "would be unpacked outside"),
        _name,
    )
archives.add(
    "control characters in a member's name",
    lambda place: kept(place, zipped(members(), ("../\x1b]0;owned\x07\n::error::%0a\u202e", b"x"))),
    finding("X004", "would be unpacked outside"),
)
archives.add(
    "weights twice", lambda place: kept(place, zipped(members(), (WEIGHTS, b"other"))), unreadable("signature")
)
archives.add(
    "configuration twice",
    lambda place: kept(place, zipped(members(), (CONFIG, members()[CONFIG]))),
    finding("X004", "is there twice"),
)


@archives.case("100,001 members", unreadable("members"))
def _(place: Place) -> Path:
    # Entries of the central directory that share one local header: 5 MB.
    data = zipped({"x": b""})
    at = data.index(b"PK\x01\x02")
    entry = data[at : data.index(b"PK\x05\x06")]
    many = b"".join(entry.replace(b"x", chr(97 + n % 26).encode(), 1) for n in range(100_001))
    body = data[:at] + many
    end = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 100_001, 100_001, len(many), at)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, len(body), 1)
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return kept(place, body + end + locator + tail)


# ------------------------------------------------------------------------------------------------- bombs: classes 18


def bomb(place: Place, name: str, size: int, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """An archive with a member of many zeros."""
    path = place.own / "model.keras"
    content = members()
    content.pop(name, None)
    with zipfile.ZipFile(path, "w", method) as archive:
        for each, data in content.items():
            archive.writestr(each, data)
        with archive.open(name, "w", force_zip64=True) as stream:
            for _ in range(size >> 20):
                stream.write(bytes(1 << 20))
    return path


archives.add("bomb as weights", lambda place: bomb(place, WEIGHTS, 256 << 20), unreadable("would unpack"))
archives.add("bomb as configuration", lambda place: bomb(place, CONFIG, 256 << 20), unreadable("would unpack"))
archives.add(
    "bomb of bzip2", lambda place: bomb(place, WEIGHTS, 128 << 20, zipfile.ZIP_BZIP2), unreadable("would unpack")
)
archives.add(
    "bomb that nobody reads",
    lambda place: bomb(place, "assets/zeros", 256 << 20),
    harmless("Keras does not read it either, and neither do we"),
)


@archives.case("bomb that lies about its size", unreadable(""))
def _(place: Place) -> Path:
    path = bomb(place, WEIGHTS, 64 << 20)
    data = bytearray(path.read_bytes())
    at = central(data, WEIGHTS)
    struct.pack_into("<I", data, at + 24, 1000)
    return kept(place, data)


# ----------------------------------------------------------------------------------- configuration: classes 20 to 22

archives.add(
    "no configuration",
    lambda place: kept(place, zipped({name: data for name, data in members().items() if name != CONFIG})),
    harmless("the variables are told without it: the class of the optimizer is inferred", says="inferred"),
)
archives.add(
    "no weights",
    lambda place: kept(place, zipped({name: data for name, data in members().items() if name != WEIGHTS})),
    unreadable("has neither"),
)
archives.add("nothing", lambda place: kept(place, zipped({})), unreadable(""))
archives.add("no JSON", lambda place: configured(place, b"{not json"), unreadable("is not JSON"))
archives.add("deep JSON", lambda place: configured(place, b'{"a":' * 60_000), unreadable("nested deeper"))
archives.add("a huge number", lambda place: configured(place, b'{"a":' + b"1" * 5000 + b"}"), unreadable("is not JSON"))
archives.add("a list", lambda place: configured(place, [1]), unreadable("should be a JSON object"))
archives.add(
    "a version that is a list",
    lambda place: configured(place, {"keras_version": [1]}, METADATA),
    harmless("it is not needed"),
)
archives.add(
    "a byte order mark", lambda place: configured(place, b"\xef\xbb\xbf" + members()[CONFIG]), harmless("it is UTF-8")
)
archives.add("NaN as a rate", lambda place: _rate(place, "NaN"), harmless("it is shown as it is", says="NaN"))
archives.add(
    "a rate 900 deep",
    lambda place: _rate(place, '{"a":' * 900 + "1" + "}" * 900),
    unreadable("nested deeper"),
)
archives.add("10^400 as a rate", lambda place: _rate(place, "1e400"), harmless("it is shown as it is", says="inf"))
archives.add(
    "a dictionary as a rate", lambda place: _rate(place, '{"a": {"class_name": 3}}'), harmless("Keras's to say")
)


def _rate(place: Place, text: str) -> Path:
    config = json.loads(members()[CONFIG])
    config["compile_config"]["optimizer"]["config"]["learning_rate"] = MARKER
    return configured(place, json.dumps(config).replace(f'"{MARKER}"', text).encode())


@archives.case("Lambda layer", finding("X001", "Python code"))
def _(place: Place) -> Path:
    config = json.loads(members()[CONFIG])
    function = {"class_name": "__lambda__", "config": {"code": MARKER, "defaults": None, "closure": None}}
    layer = {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "l", "function": function}}
    config["config"]["layers"].append(layer)
    return configured(place, config)


@archives.case("a module that is a command", finding("X001", "os.system"))
def _(place: Place) -> Path:
    config = json.loads(members()[CONFIG])
    config["compile_config"]["optimizer"] = {"module": "os", "class_name": "system", "config": {"command": MARKER}}
    return configured(place, config)


for _name, _value in {"class_name": ["x"], "config": 7, "module": {}}.items():

    def _wrong(place: Place, name: str = _name, value: object = _value) -> Path:
        config = json.loads(members()[CONFIG])
        config["compile_config"]["optimizer"][name] = value
        config["config"]["layers"][0][name] = value
        return configured(place, config)

    archives.add(f"{_name} of the wrong type", _wrong, harmless("what is stored tells the state without it"))


# --------------------------------------------------------------------------------------- structure: classes 23 to 27

archives.add(
    "bytes before the archive",
    lambda place: kept(place, b"#!/bin/sh\necho\n" + zipped(members())),
    harmless("zip is read from its end, also by Keras"),
)


def _flagged(data: bytearray) -> None:
    data[central(data, WEIGHTS) + 8] |= 1


archives.add("encrypted weights", lambda place: patched(place, _flagged), unreadable("marked as encrypted"))
archives.add(
    "another name in the local header",
    lambda place: patched(place, lambda data: data.__setitem__(data.index(WEIGHTS.encode()), ord("X"))),
    unreadable("local header"),
)


def _end(data: bytearray, at: int, value: int) -> None:
    struct.pack_into("<I", data, data.index(b"PK\x05\x06") + at, value)


archives.add(
    "central directory of 4 GB", lambda place: patched(place, lambda data: _end(data, 12, 0xFFFFFF00)), unreadable("")
)
archives.add(
    "central directory elsewhere", lambda place: patched(place, lambda data: _end(data, 16, 0x7FFFFFFF)), unreadable("")
)
archives.add(
    "cut in the middle",
    lambda place: patched(place, lambda data: data.__delitem__(slice(len(data) // 2, None))),
    unreadable(""),
)


def _moved(data: bytearray) -> None:
    """The weights' entry leads to the configuration's bytes: members that overlap."""
    other = central(data, CONFIG)
    (offset,) = struct.unpack_from("<I", data, other + 42)
    struct.pack_into("<I", data, central(data, WEIGHTS) + 42, offset)


archives.add("overlapping members", lambda place: patched(place, _moved), unreadable("local header"))


def _grown(data: bytearray, size: int) -> None:
    struct.pack_into("<II", data, central(data, WEIGHTS) + 20, size, size)


archives.add(
    "weights longer than the archive", lambda place: patched(place, lambda data: _grown(data, 1 << 30)), unreadable("")
)
archives.add("weights shorter than HDF5", lambda place: patched(place, lambda data: _grown(data, 100)), unreadable(""))


@archives.case("zip64 that says 2^63 bytes", unreadable(""))
def _(place: Place) -> Path:
    data = bytearray(zipped(members()))
    at = central(data, WEIGHTS)
    struct.pack_into("<II", data, at + 20, 0xFFFFFFFF, 0xFFFFFFFF)
    extra = struct.pack("<HHQQ", 1, 16, 1 << 63, 1 << 63)
    struct.pack_into("<H", data, at + 30, len(extra))
    place_of_extra = at + 46 + len(WEIGHTS)
    data[place_of_extra:place_of_extra] = extra
    end = data.index(b"PK\x05\x06")
    (size,) = struct.unpack_from("<I", data, end + 12)
    struct.pack_into("<I", data, end + 12, size + len(extra))
    return kept(place, data)


@archives.case("weights that link out of the archive", finding("X002", "link into another file"))
def _(place: Place) -> Path:
    stream = io.BytesIO(members()[WEIGHTS])
    secret = place.secret / "s.h5"
    with h5py.File(str(secret), "w") as file:
        file["w"] = [1.0]
    with h5py.File(stream, "r+") as file:
        name = "layers/dense/vars/0"
        del file[name]
        file[name] = h5py.ExternalLink(str(secret), "w")
    return kept(place, zipped({**members(), WEIGHTS: stream.getvalue()}))


@archives.case("weights that HDF5 2.0 crashes on", unreadable(""))
def _(place: Place) -> Path:
    # As in a file, but in a zip archive: the library dies while it reads through Python.
    stream = io.BytesIO(members()[WEIGHTS])
    with h5py.File(stream, "r+") as file:
        file["layers/dense"].attrs["name"] = "hidden"
    data = bytearray(stream.getvalue())
    at = data.index(b"\x19\x01", data.index(b"name\0"))
    data[at + 1 : at + 3] = b"\xff\xff"
    return kept(place, zipped({**members(), WEIGHTS: bytes(data)}))
