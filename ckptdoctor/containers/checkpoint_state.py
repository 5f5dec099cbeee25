"""The text file `checkpoint` that names the latest checkpoint of a directory (CheckpointState, text format)."""

from __future__ import annotations

import os
from typing import NamedTuple

from ckptdoctor.containers.files import RegularFile
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact

NAME = "checkpoint"
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
    from google.protobuf import text_format

    from ckptdoctor.containers.protos import checkpoint_pb2 as pb

    with RegularFile(path) as file:
        if file.size > MAX_SIZE:
            raise LimitExceeded(f"a checkpoint state file of {file.size:,} bytes is not read", path)
        data = file.read(0, file.size)
    try:
        state = text_format.Parse(data.decode(), pb.CheckpointState(), allow_unknown_field=True)
    except (text_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableArtifact(
            f"{os.path.basename(path)} is no checkpoint state file: {str(error).splitlines()[0]}", path
        ) from error
    found = CheckpointState(path, state.model_checkpoint_path, tuple(state.all_model_checkpoint_paths))
    odd = next((each for each in (found.latest, *found.all) if "\0" in each), None)
    if odd is not None:
        raise UnreadableArtifact(f"{os.path.basename(path)} names {odd!r}, which no file can be called", path)
    return found


def resolve(state: CheckpointState, prefix: str) -> str:
    """The prefix as a path: relative ones lie beside the state file; absolute ones that moved are looked for there.

    Names that climb out of the directory are taken by their last component.
    """
    directory = os.path.dirname(state.path)
    beside = os.path.join(directory, os.path.basename(prefix.rstrip("/")))
    if os.path.isabs(prefix):
        return prefix if os.path.exists(f"{prefix}.index") and not os.path.exists(f"{beside}.index") else beside
    relative = os.path.normpath(os.path.join(directory, prefix))
    inside = os.path.normpath(directory) if directory else "."
    return (
        relative
        if (inside == "." and not relative.startswith("..")) or relative.startswith(inside + os.sep)
        else beside
    )
