"""Real clusters of Dask and Ray on this machine: the same rows, and what a lost worker costs."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.commands import ROOT
from support.museum import FIXTURES

from ckptdoctor.checking.policy import Policy
from ckptdoctor.errors import UsageProblem
from ckptdoctor.scanning.engines import clusters
from ckptdoctor.scanning.listing import Shard
from ckptdoctor.scanning.parts import Parts
from ckptdoctor.scanning.rows import Row
from ckptdoctor.scanning.run import scan

POLICY = Policy()


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Some hundred checkpoints."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(120):
        shutil.copy(FIXTURES / "optimizer.pkl", folder / f"m{number:03d}.pkl")
    return folder


@pytest.fixture
def poisoned(many: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One of them kills whoever reads it: the processes of a cluster have a module that does so when it is met."""
    site = many.parent / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import os, signal\n"
        "from ckptdoctor.scanning import rows\n"
        "lies_at = rows.lies_at\n"
        "def deadly(path):\n"
        "    if path.endswith('m050.pkl'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return lies_at(path)\n"
        "rows.lies_at = deadly\n",
        encoding="utf-8",
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(ROOT)]))
    return many


def _rows(output: Path) -> dict[str, Row]:
    return {os.path.basename(row.path): row for row in Parts(str(output), Shard(), resume=True).rows()}


def _one_is_lost(rows: dict[str, Row]) -> None:
    assert len(rows) == 120
    assert [name for name, row in rows.items() if row.error is not None] == ["m050.pkl"]
    assert "every worker that read it died of it" in str(rows["m050.pkl"].error)


class TestDask:
    """Dask."""

    @pytest.fixture
    def cluster(self) -> Iterator[Any]:
        """Two workers."""
        distributed = pytest.importorskip("distributed")
        with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as running:
            yield running

    @pytest.mark.filterwarnings("ignore")
    def test_a_killed_worker(self, many: Path, tmp_path: Path, cluster: Any) -> None:
        """One is killed while it works: every row is there, and the second time none is made."""
        killed: list[int] = []

        def told(_: Row) -> None:
            if not killed:
                killed.append(next(iter(cluster.workers.values())).process.pid)
                os.kill(killed[0], signal.SIGKILL)

        address = cluster.scheduler_address
        found = scan([many], tmp_path / "out", POLICY, engine="dask", address=address, batch=5, told=told)
        assert killed
        assert found.summary.artifacts == 120
        assert not found.summary.unreadable
        again = scan([many], tmp_path / "out", POLICY, engine="dask", address=address, batch=5, resume=True)
        assert (again.judged, again.summary.artifacts) == (0, 120)

    @pytest.mark.filterwarnings("ignore")
    def test_poison_costs_its_own_row(self, poisoned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its batch is taken apart until it is alone, though the cluster gives up workers that start again."""
        pytest.importorskip("distributed")
        import dask

        monkeypatch.setattr(clusters, "_LOOK", 0.5)
        impatient = {"distributed.deploy.lost-worker-timeout": "10ms"}  # not 15 s, which a busy machine takes
        with dask.config.set(impatient):
            scan([poisoned], tmp_path / "out", POLICY, engine="dask", jobs=2, batch=8)
        _one_is_lost(_rows(tmp_path / "out"))

    @pytest.mark.filterwarnings("ignore")
    def test_no_workers(self, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A cluster without any is not waited for for ever."""
        distributed = pytest.importorskip("distributed")
        monkeypatch.setattr(clusters, "_LOOK", 0.1)
        monkeypatch.setattr(clusters, "_PATIENCE", 0.5)
        with (
            distributed.LocalCluster(n_workers=0, dashboard_address=None) as empty,
            pytest.raises(UsageProblem, match="has had no worker"),
        ):
            scan([many], tmp_path / "out", POLICY, engine="dask", address=empty.scheduler_address)


@pytest.mark.skipif(sys.platform == "win32", reason="Ray is not tested there")
class TestRay:
    """Ray."""

    @pytest.mark.nightly  # its cluster takes longer to start than all other tests of scans together
    @pytest.mark.filterwarnings("ignore")
    def test_poison_costs_its_own_row(self, poisoned: Path, tmp_path: Path) -> None:
        """Its batch is taken apart until it is alone; the second time nothing is judged."""
        pytest.importorskip("ray")
        scan([poisoned], tmp_path / "out", POLICY, engine="ray", jobs=2, batch=30)
        _one_is_lost(_rows(tmp_path / "out"))
