"""Names from files and paths, made harmless for the place where they are shown."""

from __future__ import annotations

import re


def printable(text: str) -> str:
    """Text as it may appear on a terminal: control characters, bidirectional marks and line ends become escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # a byte of a file name that is no UTF-8 (PEP 383)
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()


_COMMAND = r"(?m)^((?:[^\S\n]|\x1b\[[\d;]*m)*):(?=:)|#(?=#[a-zA-Z]*\[)"


def without_commands(text: str) -> str:
    """Lines that a CI system would take for commands, made text: their first character becomes an escape.

    GitHub's runner does what stands after `::` at the start of a line, blanks before it left out, and after `##[`
    anywhere in one (actions/runner, ActionCommand.TryParseV2 and TryParse), Azure's after `##vso[`.
    """
    if "::" not in text and "##" not in text:
        return text
    return re.sub(_COMMAND, lambda found: r"\x23" if found[1] is None else rf"{found[1]}\x3a", text)
