"""The text file `checkpoint` that names the latest checkpoint of a directory (CheckpointState, text format)."""

import json
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.formats.contract import Pointer
from ckptdoctor.formats.tensorflow import STATE_FILE

MAX_SIZE = 1 << 24


class CheckpointState(NamedTuple):
    """What a state file says.

    Attributes:
        path: The state file.
        latest: The latest checkpoint prefix, as written: relative to the directory, or absolute.
        all: Every prefix that it lists, oldest first.
    """

    path: str
    latest: str
    all: tuple[str, ...]


def read_checkpoint_state(path: str) -> CheckpointState:
    """Reads a `checkpoint` file.

    Raises:
        UnreadableArtifact: It is no CheckpointState in text format.
    """
    with RegularFile(path) as file:
        if file.size > MAX_SIZE:
            raise LimitExceeded(f"a checkpoint state file of {file.size:,} bytes is not read", path)
        data = file.read(0, file.size)
    try:
        named = _fields(data.decode())
    except (ValueError, UnicodeDecodeError) as error:
        raise UnreadableArtifact(f"{os.path.basename(path)} is no checkpoint state file: {error}", path) from error
    found = CheckpointState(
        path, named.get("model_checkpoint_path", [""])[-1], tuple(named.get("all_model_checkpoint_paths", ()))
    )
    odd = next((each for each in (found.latest, *found.all) if "\0" in each), None)
    if odd is not None:
        raise UnreadableArtifact(f"{os.path.basename(path)} names {odd!r}, which no file can be called", path)
    return found


_FIELD = r"""\s*(\w+)\s*:\s*((?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[^\s"'#;,]+)(?:\s*[;,])?)"""
_BLANK = r"(?:\s|#[^\n]*)*"
_QUOTED = ('"', "'")


def _fields(text: str) -> dict[str, list[str]]:
    """The fields of a message in text format, each a name and a string or number, in the order of the file.

    Source: protobuf.dev, "Text Format Language Specification"; CheckpointState has no other kinds of fields.
    """
    found: dict[str, list[str]] = {}
    field, blank = re.compile(_FIELD), re.compile(_BLANK)
    position = _end(blank, text, 0)
    while position < len(text):
        match = field.match(text, position)
        if match is None:
            line = text.count("\n", 0, position) + 1
            raise ValueError(f'line {line} should be `name: "value"`')
        value = match[2].rstrip(" ;,")
        found.setdefault(match[1], []).append(_unquoted(value) if value.startswith(_QUOTED) else value)
        position = _end(blank, text, match.end())
    return found


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position


_ESCAPE = rb"(?s)\\([0-7]{1,3}|[xX][0-9a-fA-F]{1,2}|.)"
_SHORT = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def _unquoted(text: str) -> str:
    """A string of the text format without its quotes and C escapes, which stand for bytes of UTF-8."""

    def plain(match: re.Match[bytes]) -> bytes:
        code = match[1]
        if code[:1].isdigit():
            return bytes([int(code, 8) & 0xFF])
        if code[:1] in b"xX" and len(code) > 1:
            return bytes([int(code[1:], 16)])
        return _SHORT.get(code, code)

    return re.sub(_ESCAPE, plain, text[1:-1].encode()).decode()


def names_to_add(output: str) -> tuple[str, ...]:
    """What `tf.train.latest_checkpoint` needs to find a checkpoint, where that is not there; nothing is written."""
    directory, name = os.path.split(output)
    line = f"model_checkpoint_path: {json.dumps(name, ensure_ascii=False)}"
    path = os.path.join(directory, STATE_FILE)
    if not storage.exists(path):
        return (f"tf.train.latest_checkpoint finds it by a file {path}, which is not there, with the line {line}",)
    try:
        latest = os.path.basename(read_checkpoint_state(path).latest)
    except UnreadableArtifact:
        return ()
    if latest == name:
        return ()
    return (f"{path} names {latest} as the latest: tf.train.latest_checkpoint finds this one by the line {line}",)


def points(path: str, names: Sequence[str]) -> Pointer | None:
    """What `tf.train.latest_checkpoint` is told by the state file of a directory.

    Raises:
        UnreadableArtifact: The file is none.
    """
    file = os.path.join(path, STATE_FILE)
    if STATE_FILE not in names or not storage.is_file(file):
        return None
    latest = read_checkpoint_state(file).latest
    return Pointer(f"the file `{STATE_FILE}`", os.path.basename(latest.rstrip("/"))) if latest else None


def text_of(latest: str, everything: Sequence[tuple[str, float]]) -> str:
    """A state file, in text format.

    Args:
        latest: The latest checkpoint.
        everything: All of them, oldest first, and when they were saved: CheckpointManager knows none without its time,
            and none that is no later than what it meant to keep.
    """
    lines = [f"model_checkpoint_path: {_quoted(latest)}"]
    lines += [f"all_model_checkpoint_paths: {_quoted(name)}" for name, _ in everything]
    lines += [f"all_model_checkpoint_timestamps: {when!r}" for _, when in everything]
    preserved = min((when for _, when in everything), default=1.0) - 1.0
    lines.append(f"last_preserved_timestamp: {preserved!r}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A string of the text format: bytes beyond ASCII, and those of controls, by their octal numbers."""
    data = text.encode("utf-8", "surrogateescape")
    plain = (chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\{byte:03o}" for byte in data)  # noqa: PLR2004
    return f'"{"".join(plain)}"'


def resolve(state: CheckpointState, prefix: str) -> str:
    """The prefix as a path: relative ones lie beside the state file; absolute ones that moved are looked for there.

    Names that climb out of the directory are taken by their last component.
    """
    directory = os.path.dirname(state.path)
    beside = os.path.join(directory, os.path.basename(prefix.rstrip("/")))
    if storage.is_absolute(prefix):
        if not storage.is_beside(prefix, directory):
            return beside
        return prefix if storage.exists(f"{prefix}.index") and not storage.exists(f"{beside}.index") else beside
    relative = storage.normal(os.path.join(directory, prefix))
    inside = storage.normal(directory) if directory else "."
    return (
        relative
        if (inside == "." and not relative.startswith("..")) or relative.startswith(inside + os.sep)
        else beside
    )
