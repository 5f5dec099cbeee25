"""The pages of the rules as tests take them apart: their prose, and the code that stands in them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).resolve().parent.parent.parent / "ckptdoctor" / "diagnosis" / "pages"
TEXTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.glob("*.md"))}
"""Code → page."""
OF_TORCH = frozenset({*(f"S0{number}" for number in range(13, 26)), "V006", "V007", "X005", "X006"})
"""Pages about PyTorch: their code is for torch."""

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A block of code: of which language, and what stands in it."""

    language: str
    code: str


def blocks(text: str) -> list[Block]:
    """The blocks of code in a page, in order."""
    return [Block(language, code) for language, code in _BLOCK.findall(text)]


def prose(text: str) -> str:
    """A page without its headings and blocks."""
    return re.sub(r"^#.*$", "", _BLOCK.sub("", text), flags=re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """The command lines of ckptdoctor in a page, as words."""
    lines = [line for block in blocks(text) if block.language == "sh" for line in _joined(block.code)]
    inline = re.findall(r"`(ckptdoctor [^`]+)`", prose(text))
    return [words for line in [*lines, *inline] if (words := shlex.split(line))[0] == "ckptdoctor"]


def _joined(code: str) -> list[str]:
    return [line for line in code.replace("\\\n", " ").splitlines() if line.strip()]
