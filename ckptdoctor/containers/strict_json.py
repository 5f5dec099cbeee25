"""JSON from files that nobody vouches for: bounded in size, its depth survived, its errors told with their place."""

from __future__ import annotations

import json

from ckptdoctor.errors import LimitExceeded, UnreadableArtifact

MAX_BYTES = 64 << 20
MAX_DEPTH = 256
"""Models nested forty deep have no more; whoever walks or prints a configuration may recurse so far."""


def parse_json(text: str | bytes, path: str, place: str, *, recursed: bool = True) -> object:
    """Parses JSON text.

    Args:
        text: The text; bytes must be UTF-8, with or without a byte order mark.
        path: The file that it is from, for errors.
        place: Where in the file, for errors: a member, an attribute.
        recursed: Somebody may recurse into it; where nobody does, its depth is no harm.

    Raises:
        UnreadableArtifact: It is no JSON, or nested deeper than can be read.
        LimitExceeded: It is larger than any configuration.
    """
    if len(text) > MAX_BYTES:
        raise LimitExceeded(f"is {len(text):,} bytes of JSON; {MAX_BYTES:,} are read", path, place=place)
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text.lstrip("\ufeff")
        value: object = json.loads(decoded)
    except RecursionError as error:
        raise UnreadableArtifact("is JSON nested deeper than any configuration", path, place=place) from error
    except ValueError as error:
        raise UnreadableArtifact(f"is not JSON: {error}", path, place=place) from error
    if recursed and _is_deep(value):
        raise UnreadableArtifact("is JSON nested deeper than any configuration", path, place=place)
    return value


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
            if child.__class__ is dict or child.__class__ is list
        ]
        if not level:
            return False
    return True


def parse_object(text: str | bytes, path: str, place: str, *, recursed: bool = True) -> dict[str, object]:
    """Parses JSON text that must be an object; see `parse_json`."""
    value = parse_json(text, path, place, recursed=recursed)
    if not isinstance(value, dict):
        raise UnreadableArtifact(f"should be a JSON object and is {type(value).__name__}", path, place=place)
    return value
