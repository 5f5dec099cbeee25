"""What mkdocs makes by itself: a page for each rule, from the text that `ckptdoctor explain` prints."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_PAGES = Path(__file__).parent.parent / "ckptdoctor" / "diagnosis" / "pages"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds rules/CODE.md for every rule."""
    for page in sorted(_PAGES.glob("*.md")):
        files.append(File.generated(config, f"rules/{page.name}", content=page.read_text(encoding="utf-8")))
    return files
