"""Orbax checkpoints that lie: their databases, arrays, trees and names."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from hostile.cases import Family, Place, finding, harmless, suspect, unreadable
from support.orbax.lies import LIES
from support.orbax.ocdbt import At, database
from support.orbax.zarr_arrays import v2, v3, write

orbax = Family("orbax", "keras3.keras")

W = np.arange(1, 7, dtype="float32").reshape(2, 3)
GROUPS: Mapping[str, Any] = {
    "trainable_variables.d.w": W,
    "optimizer_variables.adam.iteration": np.asarray(7, "int32"),
    "optimizer_variables.adam.learning_rate": np.asarray(0.01, "float32"),
    "optimizer_variables.adam.d_w_momentum": W / 10,
    "optimizer_variables.adam.d_w_velocity": W / 10,
}


def tree(place: Place, names: Mapping[str, Any] = GROUPS, **more: object) -> Path:
    """An item's directory with its tree."""
    folder = place.own / "item"
    folder.mkdir()
    nodes = {
        name: {
            "key_metadata": [{"key": key, "key_type": 2} for key in name.split(".")],
            "value_metadata": {"value_type": "np.ndarray"},
        }
        for name in names
    }
    (folder / "_METADATA").write_text(json.dumps({"tree_metadata": nodes, **more}))
    (folder / "_CHECKPOINT_METADATA").write_text('{"commit_timestamp_nsecs": 1}')
    return folder


def item(place: Place, changes: Mapping[str, Any] | None = None, **stored: Mapping[str, bytes]) -> Path:
    """A sound item but for some arrays, and for how others are stored."""
    values = {**GROUPS, **(changes or {})}
    folder = tree(place, values)
    return write(folder, {**{name: v2(each, each.shape, packer="zstd") for name, each in values.items()}, **stored})


def _lie(place: Place, name: str) -> Path:
    LIES[name][0](tree(place))
    return place.own / "item"


for _name in LIES:
    orbax.add(f"a database with {_name}", _lie, suspect(), _name)


def _metadata(place: Place, **change: object) -> Path:
    """An array whose metadata says something else."""
    stored = v2(W, (2, 3), packer="zstd")
    stored[".zarray"] = json.dumps({**json.loads(stored[".zarray"]), **change}).encode()
    return item(place, **{"optimizer_variables.adam.d_w_momentum": stored})


_ZEROS = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 28))

for _says, _change in {
    "impossible": {"shape": [1 << 62, 8]},
    "impossible ": {"shape": [-1, 3]},
    "another number of dimensions": {"chunks": [2]},
    "larger than any": {"chunks": [1 << 45, 3]},
}.items():
    orbax.add(
        f"an array with {_change}", lambda place, change: _metadata(place, **change), unreadable(_says.strip()), _change
    )
for _dtype in ("|O", "\x1b[31m|V9", "|V2147483647"):
    orbax.add(
        f"elements of {_dtype!r}",
        lambda place, dtype: _metadata(place, dtype=dtype),
        finding("I007", "not read"),
        _dtype,
    )


@orbax.case("many chunks that are not there", finding("I002", "chunks"))
def _sparse(place: Place) -> Path:
    return _metadata(place, shape=[1 << 40, 3])


@orbax.case("a chunk that is a bomb", suspect(cpu=4))
def _bomb(place: Place) -> Path:
    stored = v2(W, (2, 3), packer="zstd")
    return item(place, **{"optimizer_variables.adam.d_w_momentum": {**stored, "0.0": _ZEROS}})


@orbax.case("zeros of 256 MB", harmless("zeros are small when they are packed", cpu=6))
def _zeros(place: Place) -> Path:
    stored = v2(np.zeros((2, 3), "float32"), (2, 3), packer="zstd")
    fields = json.loads(stored[".zarray"])
    extents = [(1 << 28) // 4]
    stored = {".zarray": json.dumps({**fields, "shape": extents, "chunks": extents}).encode(), "0": _ZEROS}
    return item(place, **{"non_trainable_variables.n": stored})


@orbax.case("a chunk of garbage", harmless("what is packed is not read by inspect"))
def _garbage(place: Place) -> Path:
    return item(place, **{"non_trainable_variables.n": v3(W, (2, 3), packers=["zstd"])})


@orbax.case("a count below zero", suspect())
def _negative(place: Place) -> Path:
    return item(place, {"optimizer_variables.adam.iteration": np.asarray(-7, "int32")})


@orbax.case("moments that are no numbers", suspect())
def _nan(place: Place) -> Path:
    path = item(place, {"optimizer_variables.adam.d_w_velocity": np.full((2, 3), np.nan, "float32")})
    (path / "_CHECKPOINT_METADATA").write_text('{"commit_timestamp_nsecs": null}')
    return path


@orbax.case("a value in somebody else's file", unreadable("leads out"))
def _elsewhere(place: Place) -> Path:
    (place.secret / "w").write_bytes(W.tobytes())
    folder = tree(place)
    os.symlink(place.secret / "w", folder / "w")
    return database(folder, {"trainable_variables.d.w/0.0": At("w", 0, 24)})


@orbax.case("arrays that are links", unreadable("leads out"))
def _linked(place: Place) -> Path:
    path = item(place)
    write(place.secret, {"x": v2(W, (2, 3))})
    os.symlink(place.secret / "x", path / "non_trainable_variables.n")
    return path


@orbax.case("a tree that is a link", unreadable("leads out"))
def _linked_tree(place: Place) -> Path:
    path = item(place)
    (path / "_METADATA").rename(place.secret / "tree")
    os.symlink(place.secret / "tree", path / "_METADATA")
    return path


@orbax.case("directories in a circle", unreadable("leads out"))
def _circle(place: Place) -> Path:
    path = item(place)
    os.symlink(place.own, path / "up")
    return path


@orbax.case("a pipe for a tree", unreadable("not a regular file"))
def _pipe(place: Place) -> Path:
    path = item(place)
    (path / "_METADATA").unlink()
    os.mkfifo(path / "_METADATA")
    return path


@orbax.case("a tree nested too deep", unreadable("nested"))
def _deep(place: Place) -> Path:
    path = item(place)
    (path / "_METADATA").write_text("[" * 200_000)
    return path


@orbax.case("100,000 leaves that are not there", finding("I002", "are not there", cpu=6))
def _leaves(place: Place) -> Path:
    folder = tree(place, {f"trainable_variables.d.w{number}": W for number in range(100_000)})
    return write(folder, {"trainable_variables.d.w0": v2(W, (2, 3))})


@orbax.case("names that are commands", harmless("names are shown escaped"))
def _names(place: Place) -> Path:
    names = {f"trainable_variables.{name}": W for name in ("\x1b[2Jx", "a\n::error::pwned%0A", "\u202eevil", "x" * 200)}
    folder = tree(place, {**GROUPS, **names})
    values = {**GROUPS, **names}
    return database(
        folder, {f"{name}/{key}": data for name, each in values.items() for key, data in v2(each, each.shape).items()}
    )


@orbax.case("msgpack of 2^32 elements", unreadable("claims"))
def _msgpack(place: Place) -> Path:
    folder = place.own / "item"
    folder.mkdir()
    (folder / "checkpoint").write_bytes(b"\x81\xa1a\xdd" + struct.pack(">I", 2**32 - 1))
    return folder


@orbax.case("msgpack nested too deep", unreadable("deep"))
def _deep_msgpack(place: Place) -> Path:
    folder = place.own / "item"
    folder.mkdir()
    (folder / "checkpoint").write_bytes(b"\x81\xa1a" * 100_000 + b"\xc0")
    return folder


@orbax.case("a configuration that names code", finding("X001", "subprocess.Popen"))
def _code(place: Place) -> Path:
    path = item(place)
    step = place.own / "step"
    step.mkdir()
    path.rename(step / "pytree")
    (step / "pytree" / "_CHECKPOINT_METADATA").rename(step / "_CHECKPOINT_METADATA")
    (step / "model_config").mkdir()
    config = {"module": "subprocess", "class_name": "Popen", "config": {"name": "m"}}
    (step / "model_config" / "_strings.json").write_text(json.dumps({"config": json.dumps(config)}))
    return step
