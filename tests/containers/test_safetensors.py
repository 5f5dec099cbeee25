"""Headers of safetensors: what they claim is held against the file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ckptdoctor.containers.safetensors import read_safetensors
from ckptdoctor.errors import UnreadableArtifact

_ONE = '{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'


def _written(tmp_path: Path, header: str, data: bytes = bytes(4)) -> str:
    path = tmp_path / "m.safetensors"
    path.write_bytes(len(header.encode()).to_bytes(8, "little") + header.encode() + data)
    return str(path)


@pytest.mark.parametrize(
    "metadata",
    [
        "",
        '"__metadata__":{"format":"pt"},',
        '"__metadata__":{"data_offsets":"data_offsets","a":"\\"data_offsets\\":"},',
    ],
)
def test_names_that_stand_twice(tmp_path: Path, metadata: str) -> None:
    """JSON keeps the last of two; no loader may be shown the one and another the other. Texts are no names."""
    found = read_safetensors(_written(tmp_path, f'{{{metadata}"a":{_ONE}}}'))
    assert [(each.dtype, each.shape) for each in found.tensors.values()] == [("float32", (1,))]
    with pytest.raises(UnreadableArtifact, match="names a tensor twice"):
        read_safetensors(_written(tmp_path, f'{{{metadata}"a":{_ONE},"a":{_ONE}}}'))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"dtype": 3}, "by something that no tensor has"),
        ({"dtype": "F7"}, "of the type 'F7'"),
        ({"shape": None}, "by something that no tensor has"),
        ({"shape": [-1]}, "where its shape needs"),
        ({"shape": [True]}, "where its shape needs"),
        ({"data_offsets": [0]}, "by something that no tensor has"),
        ({"data_offsets": [0, 4.0]}, "where its shape needs"),
        ({"data_offsets": [0, True]}, "where its shape needs"),
        ({"data_offsets": [-4, 0]}, "where its shape needs"),
        ({"data_offsets": [4, 8]}, "a gap"),
        ({"shape": [2], "data_offsets": [0, 8]}, "is truncated"),
    ],
)
def test_claims(tmp_path: Path, change: dict[str, object], says: str) -> None:
    """Types, shapes and places are what they have to be, or the file is refused in a sentence."""
    header = json.dumps({"a": {**json.loads(_ONE), **change}})
    with pytest.raises(UnreadableArtifact, match=says):
        read_safetensors(_written(tmp_path, header))
