"""Which files are dumps: told by their bytes, whatever the pickle holds and whoever wrote it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.locate import locate

RNG = np.random.default_rng(0)
WEIGHTS = [RNG.normal(size=shape).astype("f4") for shape in [(30, 40), (40,)]]
GROUPED = [np.int64(70), *WEIGHTS, *WEIGHTS]


def is_dump(path: str) -> bool:
    """Whether what a path means goes to the reader of dumps."""
    try:
        (target,) = locate(path)
    except UnreadableArtifact:
        return False
    return target.reader == "optimizer-dump"


NOT_DUMPS = {
    "empty": b"",
    "text": b"checkpoint of the model, saved on Monday.",
    "hdf5": b"\x89HDF\r\n\x1a\n" + b"\0" * 100,
    "legacy torch": pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2),
    "another zip": b"PK\x03\x04" + b"\0" * 22 + b"\x08\0\0\0data.pkl",
    "json": b'{"a": 1}.',
    "prose in brackets": b"(see below) the model was saved on Monday.",
    "a line that begins with a letter": b"Version 2 of the model.",
    "markdown": b"[a link](there).",
}


@pytest.mark.parametrize("data", NOT_DUMPS.values(), ids=NOT_DUMPS)
def test_sniff_leaves_others_alone(tmp_path: Path, data: bytes) -> None:
    """Files of other formats are not taken for dumps."""
    path = tmp_path / "file"
    path.write_bytes(data)
    assert not is_dump(str(path))


ROOTS: dict[str, Any] = {
    "list": GROUPED,
    "tuple": tuple(GROUPED),
    "pair": (WEIGHTS, GROUPED),
    "pair of tuples": (tuple(WEIGHTS), tuple(GROUPED)),
    "dict": {"optimizer": GROUPED, "epoch": 3},
    "dict by number": {7: GROUPED},
    "array first": [WEIGHTS[0], *GROUPED],
    "tuple of numbers and arrays": (3, 0.5, GROUPED),
    "tuple of large numbers": (70_000, 1 << 40, GROUPED),
    "tuple with a text": ("adam", GROUPED),
    "nothing": [],
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS)
def test_whatever_a_pickle_holds_reaches_its_reader(tmp_path: Path, root: object, protocol: int) -> None:
    """A pickle of any protocol whose root is a container or an array is recognised by its bytes."""
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps(root, protocol))
    assert is_dump(str(path))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_of_one_array(tmp_path: Path, protocol: int) -> None:
    """An array alone is one, too."""
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps(WEIGHTS[0], protocol))
    assert is_dump(str(path))
