"""OCDBT databases that were written: our reader finds every value, however many nodes it takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptdoctor.containers.ocdbt.database import Database
from ckptdoctor.containers.ocdbt.nodes import NODE
from ckptdoctor.containers.ocdbt.writing import DataFile, Stored, write_database
from ckptdoctor.containers.zarrs.store import small
from ckptdoctor.references import FileRange


@pytest.mark.parametrize(("count", "leaf"), [(0, 1), (1, 1), (7, 1 << 20), (7, 1), (3000, 64), (1100, 1)])
def test_every_value(tmp_path: Path, count: int, leaf: int) -> None:
    """Inline and out of line, in one node, in many, in three rows of nodes."""
    values: dict[str, bytes | Stored] = {f"{number % 7}/part.{number}": str(number).encode() for number in range(count)}
    with DataFile(str(tmp_path)) as data:
        for key in list(values)[::3]:
            value = values[key]
            assert isinstance(value, bytes)
            values[key] = data.append([b"<", value, b">"])
        write_database(str(tmp_path), values.items(), data, leaf=leaf)
    found = Database(str(tmp_path), str(tmp_path))
    found.require_files()
    assert found.values.keys() == values.keys()
    for at, key in enumerate(values):
        number = key.partition("part.")[2].encode()
        assert small(found, key) == (number if at % 3 else b"<" + number + b">")
        assert isinstance(found.values[key], FileRange) == (not at % 3)
    nodes = b"".join(each.read_bytes() for each in (tmp_path / "d").iterdir()).count(NODE.to_bytes(4, "big"))
    assert nodes >= (count and 1) + (count if leaf == 1 else 0) // 2


def test_values_of_other_files(tmp_path: Path) -> None:
    """A tree may refer to the data file of another database below it."""
    below = tmp_path / "ocdbt.process_0"
    with DataFile(str(below)) as theirs:
        place = theirs.append([b"some value"])
    with DataFile(str(tmp_path)) as data:
        write_database(str(tmp_path), [("k", place._replace(file=f"ocdbt.process_0/{place.file}"))], data)
    found = Database(str(tmp_path), str(tmp_path))
    assert small(found, "k") == b"some value"
