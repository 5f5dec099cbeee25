"""The text file `checkpoint`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from support.bundles import array, write_bundle, write_state

from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.formats.tensorflow.state_file import MAX_SIZE, CheckpointState, read_checkpoint_state, resolve


def _read(tmp_path: Path, text: str | bytes) -> CheckpointState:
    path = tmp_path / "checkpoint"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_checkpoint_state(str(path))


def test_what_it_says(tmp_path: Path) -> None:
    """The latest prefix, and all of them in order."""
    state = read_checkpoint_state(write_state(tmp_path, "ckpt-7", "ckpt-3", "ckpt-5"))
    assert (state.latest, state.all) == ("ckpt-7", ("ckpt-3", "ckpt-5", "ckpt-7"))


@pytest.mark.parametrize(
    ("text", "latest"),
    [
        ('model_checkpoint_path: "a"\nall_model_checkpoint_timestamps: 1.79e9\nlast_preserved_timestamp: 1.5', "a"),
        ('# a comment\nmodel_checkpoint_path: "b"', "b"),
        ("model_checkpoint_path: 'c'", "c"),
        ('model_checkpoint_path: "\\320\\272\\303\\251"', "кé"),
        ('model_checkpoint_path: "a\\"b\\\\c"', 'a"b\\c'),
        ('model_checkpoint_path: "x"\na_field_of_the_future: 7', "x"),
        ("", ""),
    ],
    ids=["timestamps", "comment", "single quotes", "octal", "escapes", "unknown field", "empty"],
)
def test_text_format(tmp_path: Path, text: str, latest: str) -> None:
    """It is read as protocol buffers' text format, fields of later versions and all."""
    assert _read(tmp_path, text).latest == latest


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


@given(NAMES, st.lists(NAMES, max_size=3), st.booleans())
def test_any_name(tmp_path_factory: pytest.TempPathFactory, latest: str, listed: list[str], as_utf8: bool) -> None:  # noqa: FBT001
    """What the protocol buffer library writes is read, whatever is in a name."""
    message = pb.CheckpointState(model_checkpoint_path=latest, all_model_checkpoint_paths=listed)
    message.all_model_checkpoint_timestamps.extend([1.5e9, 2.0])
    state = _read(tmp_path_factory.mktemp("any"), text_format.MessageToString(message, as_utf8=as_utf8))
    assert (state.latest, state.all) == (latest, tuple(listed))


@pytest.mark.parametrize(
    "text",
    ["model_checkpoint_path:", 'model_checkpoint_path: "open', "<html>", b"\xff\xfe", "{" * 10_000, "a { " * 5_000],
    ids=["no value", "open string", "html", "no text", "braces", "deep"],
)
def test_garbage(tmp_path: Path, text: str | bytes) -> None:
    """What is no state file is said to be none."""
    with pytest.raises(UnreadableArtifact, match="checkpoint is no checkpoint state file"):
        _read(tmp_path, text)


def test_a_million_entries(tmp_path: Path) -> None:
    """A state file beyond any reason is refused before it is parsed."""
    path = tmp_path / "checkpoint"
    with path.open("wb") as file:
        file.truncate(MAX_SIZE + 1)
    with pytest.raises(LimitExceeded, match="is not read"):
        read_checkpoint_state(str(path))


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("ckpt-7", "run/ckpt-7"),
        ("sub/ckpt-7", "run/sub/ckpt-7"),
        ("./ckpt-7", "run/ckpt-7"),
        ("../../etc/passwd", "run/passwd"),
        ("sub/../../ckpt-7", "run/ckpt-7"),
        ("../run-2/ckpt-7", "run/ckpt-7"),
        ("/moved/away/ckpt-7", "run/ckpt-7"),
    ],
)
def test_resolving(tmp_path: Path, prefix: str, expected: str) -> None:
    """Relative names lie beside the state file; names that moved or climb out are looked for there."""
    state = CheckpointState(str(tmp_path / "run" / "checkpoint"), prefix, ())
    assert os.path.relpath(resolve(state, prefix), tmp_path) == expected


@pytest.mark.parametrize(("prefix", "expected"), [("ckpt-7", "ckpt-7"), ("../x/ckpt-7", "ckpt-7")])
def test_resolving_in_the_current_folder(prefix: str, expected: str) -> None:
    """A state file that was given without a folder lies in the current one."""
    assert resolve(CheckpointState("checkpoint", prefix, ()), prefix) == expected


def test_an_absolute_name_that_is_right(tmp_path: Path) -> None:
    """An absolute name counts as long as it leads somewhere and the folder has none of that name."""
    there = write_bundle(tmp_path / "elsewhere" / "ckpt-7", {"w": array(1.0)})
    state = CheckpointState(str(tmp_path / "run" / "checkpoint"), there, ())
    assert resolve(state, there) == there
    beside = write_bundle(tmp_path / "run" / "ckpt-7", {"w": array(1.0)})
    assert resolve(state, there) == beside
