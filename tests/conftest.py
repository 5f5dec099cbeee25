"""Fixtures that every test may use: the museum of real artifacts, unpacked once, and what is true of them.

And the order of tests where several workers have them.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from order import in_shares
from support.frameworks import SHARED
from support.museum import FIXTURES, unpack

import ckptdoctor
from ckptdoctor.examination import Examination

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background: what tests start would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Two workers on two cores: frameworks that each start a thread a core wait for one another. And their small programs
# take longer to compile than to run.
for _setting in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(_setting, "1")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true")

settings.register_profile("busy", suppress_health_check=[HealthCheck.too_slow])  # the machine may be
settings.load_profile("busy")


@pytest.hookimpl
def pytest_configure(config: pytest.Config) -> None:
    """Makes the folder that the workers share."""
    if not hasattr(config, "workerinput"):
        folder = os.environ[SHARED] = tempfile.mkdtemp(prefix="ckptdoctor-tests-")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(folder, "compiled")


@pytest.hookimpl
def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes it."""
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(SHARED), ignore_errors=True)


@pytest.hookimpl(trylast=True)  # after those that are not asked for are left out
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers of pytest-xdist begin with what takes long."""
    if hasattr(config, "workerinput"):
        items[:] = in_shares(items, config.workerinput["workercount"])


@pytest.fixture(scope="session")
def fixtures_dir() -> Path:
    """The folder with the unpacked examples and the museum's archive."""
    return FIXTURES


@pytest.fixture(scope="module", autouse=True)
def own_environment() -> Iterator[None]:
    """What a program sets in the environment of the tests, as Dask and Ray do, ends with the file."""
    with patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed does not depend on the terminal that the tests run in; pytest-xdist sets COLUMNS."""
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def museum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The museum, unpacked: once in a session, or once in each worker of pytest-xdist."""
    return unpack(tmp_path_factory.mktemp("museum"))


@pytest.fixture(scope="session")
def museum_truth(museum: Path) -> list[dict[str, Any]]:
    """A record for each artifact of the museum; fixtures/README.md describes them."""
    records: list[dict[str, Any]] = json.loads((museum / "truth.json").read_text(encoding="utf-8"))
    return records


@pytest.fixture(scope="session")
def museum_examined(museum: Path, museum_truth: list[dict[str, Any]]) -> dict[str, Examination]:
    """Every artifact of the museum by the name of its case, read once for all tests that only look."""
    return {record["case"]: ckptdoctor.inspect(museum / record["path"])[0] for record in museum_truth}


@pytest.fixture(scope="session")
def fixtures_truth() -> list[dict[str, Any]]:
    """The same for the unpacked examples."""
    records: list[dict[str, Any]] = json.loads((FIXTURES / "TRUTH.json").read_text(encoding="utf-8"))
    return records
