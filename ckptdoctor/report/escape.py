"""Names from files and paths, made harmless for the place where they are shown."""

from __future__ import annotations


def shown_path(path: str) -> str:
    """A path at the start of a line: CI systems take `::set-output …` and `##[…` there for commands."""
    text = printable(path)
    return f"./{text}" if text.startswith(("::", "##")) else text


def printable(text: str) -> str:
    """Text as it may appear on a terminal: control characters, bidirectional marks and line ends become escapes."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # a byte of a file name that is no UTF-8 (PEP 383)
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()
