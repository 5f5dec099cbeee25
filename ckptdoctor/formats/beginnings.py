"""How files begin that have no magic number: streams of torch.save, documents of msgpack. Small, as every file asks."""

from __future__ import annotations

import re

_STREAM = re.compile(
    rb"\x80[\x02-\x05](\x95.{8})?\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19\.|L119547037146038801333356L\n\.", re.DOTALL
)
"""A pickle of 0x1950a86a20f9469cfc6c: by protocol 2 and 3, 4 and 5 (in a frame), 0 and 1."""
_MAPS = frozenset({*range(0x81, 0x90), 0xDE, 0xDF})
_STRING8, _SMALL_MAP = 0xD9, 0xDE


def is_stream(head: bytes) -> bool:
    """Whether a file begins as the legacy stream of torch.save does."""
    return _STREAM.match(head) is not None


def is_msgpack(head: bytes) -> bool:
    """Whether a file begins as a map of msgpack does, whose first key is text."""
    if not head or head[0] not in _MAPS:
        return False
    at = 1 + {_SMALL_MAP: 2, 0xDF: 4}.get(head[0], 0)
    mark = head[at] if len(head) > at else 0
    length, start = (mark & 0x1F, at + 1) if 0xA0 <= mark < 0xC0 else (0, at)  # noqa: PLR2004 - fixstr
    if mark == _STRING8 and len(head) > at + 1:
        length, start = head[at + 1], at + 2
    key = head[start : start + length]
    return bool(key) and len(key) == length and key.decode("utf-8", "replace").isprintable()
