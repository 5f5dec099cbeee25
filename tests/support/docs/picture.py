"""The README's picture: what the command prints in a terminal, as rich draws it.

    python tests/support/docs/picture.py

renews docs/pictures/inspect.svg.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import SVG_EXPORT_THEME
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent.parent.parent
PICTURE = ROOT / "docs" / "pictures" / "inspect.svg"
COMMANDS = ("inspect --stats fixtures/keras3.keras", "check fixtures/keras3.keras fixtures/weights-only.h5")
WIDTH = 104


def drawn() -> str:
    """The picture, from runs of the command."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), legacy_windows=False)
    environment = {**os.environ, "COLUMNS": str(WIDTH), "FORCE_COLOR": "1", "TERM": "xterm-256color", "NO_COLOR": ""}
    environment.pop("NO_COLOR")
    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", "ckptdoctor", *command.split()],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        console.print(Text(f"$ ckptdoctor {command}", style="bold"))
        console.print(Text.from_ansi(done.stdout))
    return console.export_svg(title="ckptdoctor", theme=SVG_EXPORT_THEME, unique_id="ckptdoctor")


if __name__ == "__main__":
    PICTURE.write_text(drawn(), encoding="utf-8")
