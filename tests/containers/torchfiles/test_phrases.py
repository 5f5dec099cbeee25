"""Objects that a pickle writes in the same bytes again: what is made of them, and what keeps them from being shared."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.pickles.machine import Machine
from ckptdoctor.containers.torchfiles import phrases
from ckptdoctor.containers.torchfiles.archive import MAX_STEPS
from ckptdoctor.containers.torchfiles.fast import Unusual, fast_load
from ckptdoctor.containers.torchfiles.imports import TorchImports
from ckptdoctor.containers.torchfiles.tree import TorchTree
from ckptdoctor.errors import CkptDoctorError


class Described:
    """What a program describes a tensor by."""

    def __init__(self, **state: Any) -> None:
        self.__dict__ |= state


def _tree(data: bytes, value: object) -> str:
    return repr(TorchTree(Cursor(data, "x"), lambda _: None).node(value, (None, "")))


def fast(data: bytes) -> str:
    """By the fast path."""
    return _tree(data, fast_load(data, 0, TorchImports())[0])


def exact(data: bytes) -> str:
    """By the machine."""
    return _tree(data, Machine(Cursor(data, "x"), TorchImports(), MAX_STEPS).run())


def _metadata(count: int) -> bytes:
    """As the metadata of a distributed checkpoint: few kinds of descriptions, each within another, and their places."""
    described = {
        f"layer.{number}": Described(size=(2, number % 3), chunks=[Described(first=(0, 0), size=(2, number % 3))])
        for number in range(count)
    }
    return pickle.dumps({"tensors": described, "places": {name: Described(at=7) for name in described}}, 4)


def test_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written again comes out the same, and most of it is not read again."""
    data = _metadata(60)
    found: list[int] = []
    find = phrases.Phrases.find

    def counted(self: phrases.Phrases, at: int) -> phrases.Phrase | None:
        phrase = find(self, at)
        found.append(phrase.length if phrase is not None else 0)
        return phrase

    monkeypatch.setattr(phrases.Phrases, "find", counted)
    assert fast(data) == exact(data)
    assert sum(map(bool, found)) > 100


@settings(max_examples=1500, deadline=None)
@given(data=st.data())
def test_broken(data: st.DataObject) -> None:
    """Of a changed pickle it makes what the machine makes, or leaves it to the machine."""
    changed = bytearray(_metadata(9))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = fast(bytes(changed))
    except (Unusual, CkptDoctorError):
        return
    assert found == exact(bytes(changed))


NAMED = b"\x80\x04" + b"\x8c\x01m\x94\x8c\x01C\x94\x93\x94"  # m.C, as 2
PHRASE = b"h\x02)\x81\x94}\x94\x8c\x01a\x94]\x94sb"  # an object, its dict, text and list: 4 numbers
STATE = b"}\x8c\x01b\x88s"


@pytest.mark.parametrize(
    "code",
    [
        NAMED + b"(" + PHRASE + PHRASE + STATE + b"bt.",
        NAMED + b"(" + PHRASE + STATE + b"b" + PHRASE + b"t.",
        NAMED + b"(" + PHRASE + PHRASE + b"h\x06K\x07at.",
        NAMED + b"(" + PHRASE + b"h\x06K\x07a" + PHRASE + b"t.",
        NAMED + b"(" + PHRASE + PHRASE + b"h\x0at.",
        NAMED + b"(" + 2 * b"h\x02)\x81\x94}\x94\x8c\x01a\x94h\x03sb" + b"t.",
        NAMED + b"(]\x94" + 2 * b"h\x02)\x81\x94h\x03K\x07ab" + b"t.",
    ],
    ids=[
        "the second changed", "the first changed", "a part changed", "a part changed between", "a part recalled",
        "itself recalled", "another thing changed",
    ],
)  # fmt: skip
def test_left_to_the_machine(code: bytes) -> None:
    """Where what was written twice is not the same, or would not stay so."""
    try:
        found = fast(code)
    except Unusual:
        return
    assert found == exact(code)
