"""How the legacy stream of torch.save is recognised."""

from __future__ import annotations

import pickle

import pytest

from ckptdoctor.formats.beginnings import is_stream

_MAGIC = 0x1950A86A20F9469CFC6C


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_protocol(protocol: int) -> None:
    """torch.save takes any; the magic number looks different in each."""
    assert is_stream(pickle.dumps(_MAGIC, protocol) + pickle.dumps(1001, protocol))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_other_numbers(protocol: int) -> None:
    """Another number is another file."""
    assert not is_stream(pickle.dumps(_MAGIC + 1, protocol) + pickle.dumps(1001, protocol))
