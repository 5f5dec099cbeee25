"""Generated message classes of the protocol buffers in checkpoint files, and how writers read what they will change."""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from ckptdoctor.errors import UnreadableArtifact

_Message = TypeVar("_Message", bound=Message)


def parse(kind: type[_Message], data: bytes, what: str, path: str) -> _Message:
    """The message that these bytes are.

    Args:
        kind: Its class.
        data: Its bytes.
        what: What it is in the file, for the error.
        path: The file, for the error.

    Raises:
        UnreadableArtifact: They are none.
    """
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise UnreadableArtifact(f"{what} is no protocol buffer: it is corrupt", path) from error
