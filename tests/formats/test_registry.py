"""Every format has one record, every record is true, and nobody outside the formats names one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ckptdoctor
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats import registry
from ckptdoctor.formats.contract import ArtifactFormat, Reader
from ckptdoctor.formats.registry import FORMATS, READERS, endings, is_isolated, named, reader, record
from ckptdoctor.optimizers.keras.serialize import Form
from ckptdoctor.state import Format

PACKAGE = Path(ckptdoctor.__file__).parent
AT_HOME = (PACKAGE / "formats", PACKAGE / "kinds.py")
FUNCTIONS = ("ending_as", "bundle", "tables", "write", "check", "found_by")
IDS = {each.value for each in Format if each is not Format.UNKNOWN}


def _named(source: str) -> Iterator[str]:
    """Members of `Format`, and their values, that a module spells out."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Format":
            yield f"Format.{node.attr}"
        elif isinstance(node, ast.Constant) and node.value in IDS:
            yield repr(node.value)


def test_what_counts_as_naming() -> None:
    """Members and values do, annotations and other words do not."""
    assert list(
        _named('def f(kind: Format) -> bool: return kind is Format.KERAS_H5 or kind.value == "saved-model"')
    ) == [
        "Format.KERAS_H5",
        "'saved-model'",
    ]
    assert list(_named('x: Format = record("h5").id')) == []


def test_nobody_else_names_a_format() -> None:
    """Outside `formats/` records are asked: a new format is a folder and its lines in the registry."""
    others = [each for each in PACKAGE.rglob("*.py") if not any(each.is_relative_to(home) for home in AT_HOME)]
    assert len(others) > 100
    found = {str(each.relative_to(PACKAGE)): set(_named(each.read_text())) for each in others}
    found["diagnosis/loaders.py"] -= {"'deepspeed'", "'orbax-checkpoint'"}  # packages, which load them
    found["recipes/engines.py"] -= {"'deepspeed'", "'safetensors'", "'stable-baselines3'"}  # packages to install
    found["guard/of_torch.py"] -= {"'deepspeed'"}  # the package that an optimizer is of
    assert {name: names for name, names in found.items() if names} == {}


def test_one_record_a_format() -> None:
    """Each format has one, and so each artifact that is read."""
    assert sorted(each.id for each in FORMATS) == sorted(Format)
    assert [record(kind).id for kind in Format] == list(Format)


def test_every_format_is_read() -> None:
    """Readers have one name each, answer what has a record, and leave no format out."""
    assert len({each.id for each in READERS}) == len(READERS)
    assert {kind for each in READERS for kind in each.formats} == set(Format)


@pytest.mark.parametrize("each", READERS, ids=lambda each: each.id)
def test_readers_resolve(each: Reader) -> None:
    """What a reader names is a function; a crashing library reads all of its formats or none."""
    assert callable(reader(each.id))
    assert {record(kind).isolated for kind in each.formats} == {is_isolated(each.id)}


@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.id.value)
def test_records_resolve(each: ArtifactFormat) -> None:
    """What a record names are functions, which take what they are given; what has no writer says why."""
    for name in FUNCTIONS:
        function = getattr(each, name)
        assert function is None or callable(named(function)), name
    assert (each.write is None) == (each.check is None)
    if each.write is not None:
        keywords = named(each.write).__kwdefaults__ or {}
        assert set(each.write_options) == set(keywords)
    elif each.id is not Format.UNKNOWN:
        assert each.unwritable
    assert each.config_form in {form.value for form in Form}


@pytest.mark.parametrize("each", FORMATS, ids=lambda each: each.id.value)
def test_endings_agree(each: ArtifactFormat) -> None:
    """A new artifact's ending is one that promises it and that loaders take."""
    if each.ending:
        assert each.ending in each.endings
        assert each.ending in (each.required or (each.ending,))
    else:
        assert not each.required


def test_endings() -> None:
    """The longest come first, so that the first that fits is the one that is meant."""
    found = endings()
    assert all(not late.endswith(early) for place, early in enumerate(found) for late in found[place + 1 :])
    assert {".ckpt", ".npz", ".keras"} < set(found)
    assert ".ckpt" not in endings(prefixes=False)
    assert set(endings(models=True)) == {
        ".weights.h5", ".keras", ".hdf5", ".h5", ".ckpt", ".pt", ".pth", ".pth.tar", ".safetensors", ".msgpack",
    }  # fmt: skip


def test_nothing_is_written_into_what_has_no_place() -> None:
    """The record's own sentence is the refusal, of a plan as of a graft."""
    kind = Format.KERAS_H5_WEIGHTS
    nothing: Any = None  # refused before it is looked at
    with pytest.raises(GraftRefused, match="old weights layout of HDF5 has no place"):
        registry.check(kind, nothing, "w.h5")
    with pytest.raises(GraftRefused, match="old weights layout of HDF5 has no place"):
        registry.write(kind, nothing, "w.h5", "out.h5")
