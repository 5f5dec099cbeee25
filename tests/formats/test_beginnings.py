"""How the legacy stream of torch.save is recognised."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from ckptdoctor.examination import examine
from ckptdoctor.formats.beginnings import is_stream
from ckptdoctor.state import Format

_MAGIC = 0x1950A86A20F9469CFC6C


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(protocol: int) -> None:
    """torch.save takes any; the magic number looks different in each."""
    assert is_stream(pickle.dumps(_MAGIC, protocol) + pickle.dumps(1001, protocol))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_other_numbers(protocol: int) -> None:
    """Another number is another file."""
    assert not is_stream(pickle.dumps(_MAGIC + 1, protocol) + pickle.dumps(1001, protocol))


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580])
def test_a_length_that_looks_like_a_pickle(tmp_path: Path, length: int) -> None:
    """A safetensors file begins with the length of its header, which may be the mark of a pickle's protocol."""
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path = tmp_path / "model.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + header.ljust(length) + bytes(4))
    (found,) = examine(path)
    assert found.state is not None
    assert found.state.format is Format.SAFETENSORS
