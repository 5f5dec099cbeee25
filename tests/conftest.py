"""Fixtures that every test may use: the museum of real artifacts, unpacked once, and what is true of them."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """The folder with the unpacked examples and the museum's archive."""
    return FIXTURES


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed does not depend on the terminal that the tests run in; pytest-xdist sets COLUMNS."""
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def museum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The museum, unpacked: once in a session, or once in each worker of pytest-xdist."""
    folder = tmp_path_factory.mktemp("museum")
    with tarfile.open(FIXTURES / "museum.tar.xz") as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.10.12, 3.11.4 and newer
            archive.extractall(folder, filter="data")
        else:
            archive.extractall(folder)
    return folder


@pytest.fixture(scope="session")
def museum_truth(museum: Path) -> list[dict[str, Any]]:
    """A record for each artifact of the museum; fixtures/README.md describes them."""
    records: list[dict[str, Any]] = json.loads((museum / "truth.json").read_text(encoding="utf-8"))
    return records


@pytest.fixture(scope="session")
def fixtures_truth() -> list[dict[str, Any]]:
    """The same for the unpacked examples."""
    records: list[dict[str, Any]] = json.loads((FIXTURES / "TRUTH.json").read_text(encoding="utf-8"))
    return records
