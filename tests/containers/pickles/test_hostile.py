"""Pickles that would run code, claim too much, or go round in circles: refused, and nothing of them is run."""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from ckptdoctor.containers.pickles.reading import ForbiddenImport, Node, load
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def read(folder: Path, data: bytes) -> Node:
    """What the reader makes of these bytes."""
    path = folder / "dump.pkl"
    path.write_bytes(data)
    return load(str(path))[0]


class Evil:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_code_is_named_and_not_run(tmp_path: Path, protocol: int) -> None:
    """A pickle that calls `os.system` is refused with the import's name, and the command does not run."""
    witness = tmp_path / "was_here"
    data = pickle.dumps([np.ones(2), Evil(f"touch {witness}")], protocol)
    with pytest.raises(ForbiddenImport, match=r"posix\.system|nt\.system") as caught:
        read(tmp_path, data)
    assert "nothing was run" in str(caught.value)
    assert caught.value.place is not None
    assert not witness.exists()
    pickle.loads(data)
    assert witness.exists()  # the attack itself works, so the test can fail


HOSTILE = {
    "import through the memo": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93\x8c\x02id\x85R.",
    "INST": b"(S'id'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'id'\no.",
    "NEWOBJ of a class": b"\x80\x02csubprocess\nPopen\n)\x81.",
    "getattr": b"cbuiltins\ngetattr\n(cbuiltins\nlist\nS'append'\ntR.",
    "eval": b"c__builtin__\neval\n(S'1'\ntR.",
    "dotted name": b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93.",
    "submodule": b"cnumpy.core.multiarray.os\nsystem\n.",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_imports_are_refused_however_they_come(tmp_path: Path, data: bytes) -> None:
    """Every opcode that can name an import is held to the table."""
    with pytest.raises(ForbiddenImport):
        read(tmp_path, data)


MALFORMED = {
    "empty": b"",
    "only stop": b".",
    "a string of 2^60 bytes": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b"abc.",
    "bytes of 2^60": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"abc.",
    "a byte array of 2^63": b"\x80\x05\x96" + struct.pack("<Q", 1 << 63) + b"abc.",
    "a frame past the end": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"N.",
    "protocol 200": b"\x80\xc8N.",
    "a memo entry that is not there": b"\x80\x02h\x07.",
    "a negative memo index": b"Np-1\n.",
    "append to a number": b"K\x01K\x02a.",
    "set an item of a list": b"]K\x01K\x02s.",
    "an odd number of items": b"}(K\x01u.",
    "build a number": b"K\x01}b.",
    "call a number": b"K\x01)R.",
    "the import itself as data": b"cnumpy\nndarray\n.",
    "an array without contents": b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR.",
    "a persistent reference": b"Pmodel\n.",
    "an extension": b"\x82\x01.",
    "a buffer from elsewhere": b"\x80\x05\x97.",
    "a number of 2^31 bytes": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "no digits": b"Iabc\n.",
    "an unknown opcode": b"\xff.",
    "a mark left over": b"(.",
    "a string without an end": b"S'abc",
    "a string without quotes": b"Sabc\n.",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_malformed_pickles_are_refused(tmp_path: Path, data: bytes) -> None:
    """What is no pickle is refused with one sentence, at once."""
    with pytest.raises(UnreadableArtifact):
        read(tmp_path, data)


def test_an_array_must_be_as_long_as_its_shape(tmp_path: Path) -> None:
    """A shape that claims more or less than the bytes that are there is refused."""
    data = pickle.dumps(np.arange(4, dtype="<f4"), 4)
    for claimed in (3, 5):
        with pytest.raises(UnreadableArtifact, match="bytes"):
            read(tmp_path, data.replace(b"K\x04\x85", bytes([ord("K"), claimed]) + b"\x85", 1))


def memo_bomb(levels: int) -> bytes:
    """A list of ten times the list of ten times …: small as a file, endless when written out."""
    return (
        b"\x80\x04]\x94" + b"".join(b"]\x94(" + (b"h" + bytes([level])) * 10 + b"e" for level in range(levels)) + b"."
    )


def test_memo_bombs_are_stopped(tmp_path: Path) -> None:
    """A structure that unfolds to 10^30 elements is given up after a bounded number of them."""
    with pytest.raises(LimitExceeded, match="unfolds"):
        read(tmp_path, memo_bomb(30))


def test_structures_that_hold_themselves_are_stopped(tmp_path: Path) -> None:
    """A list in itself is refused, not followed."""
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(LimitExceeded, match="holds itself"):
        read(tmp_path, pickle.dumps(endless))


def test_copying_constructors_count_as_work(tmp_path: Path) -> None:
    """`list(list(…))` of a long list cannot be repeated beyond the budget."""
    once = b"cbuiltins\nlist\nh\x00\x85R0"
    data = b"\x80\x04](" + b"K\x01" * 50_000 + b"e\x94" + once * 1000 + b"h\x00."
    with pytest.raises(LimitExceeded, match="steps"):
        read(tmp_path, data)


def test_keys_that_collide_are_not_hashed(tmp_path: Path) -> None:
    """Whole numbers that all hash alike cannot be dict keys."""
    prime = (1 << 61) - 1
    with pytest.raises(UnreadableArtifact, match="key"):
        read(tmp_path, pickle.dumps({prime * factor: 0 for factor in range(1, 100)}))


def test_names_of_imports_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    """Control characters in a hostile name are shown escaped."""
    with pytest.raises(ForbiddenImport) as caught:
        read(tmp_path, b"c\x1b[2Jevil\nx\n.")
    assert "\x1b" not in str(caught.value)
