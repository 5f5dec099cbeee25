"""`scan`: a row an artifact, whatever is wrong with it; parts are whole, and made once."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.commands import children
from support.commands import ckptdoctor as run
from support.museum import FIXTURES
from support.remote.servers import Bucket
from support.schemas import load

from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.run import check_paths
from ckptdoctor.errors import UsageProblem
from ckptdoctor.scanning import parts as parts_module
from ckptdoctor.scanning.listing import Shard, batches
from ckptdoctor.scanning.parts import Parts
from ckptdoctor.scanning.rows import Row
from ckptdoctor.scanning.run import scan
from ckptdoctor.scanning.summary import summarise

POLICY = Policy()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs, single files, what is no artifact, and what cannot be read."""
    folder = tmp_path / "runs"
    shutil.copytree(FIXTURES / "run-a", folder / "a")
    shutil.copytree(FIXTURES / "run-a", folder / "deep" / "b")
    shutil.copytree(FIXTURES / "savedmodel", folder / "saved")
    for name in ("keras3.keras", "whole-model.h5", "optimizer.pkl"):
        shutil.copy(FIXTURES / name, folder / name)
    (folder / "notes.md").write_text("notes", encoding="utf-8")
    (folder / "data.bin").write_bytes(os.urandom(100))
    (folder / "cut.keras").write_bytes((FIXTURES / "keras3.keras").read_bytes()[:5000])
    (folder / "empty.h5").touch()
    return folder


def _rows(output: Path, *shards: Shard) -> list[Row]:
    return [row for shard in shards or (Shard(),) for row in Parts(str(output), shard, resume=True).rows()]


def test_rows_are_what_check_says(runs: Path, tmp_path: Path) -> None:
    """Every artifact once, judged as `check --all` judges it."""
    found = scan([runs], tmp_path / "out", POLICY)
    rows = {row.path: row for row in _rows(tmp_path / "out")}
    checked = {
        each.path: each for each in check_paths([str(runs)], POLICY, everything=True) if each.examination is not None
    }
    assert set(rows) == set(checked)
    for path, row in rows.items():
        examination = checked[path].examination
        assert examination is not None
        assert (row.passed, row.verdict, row.status) == (
            checked[path].passed, checked[path].verdict, examination.status.value
        )  # fmt: skip
        assert row.findings == tuple(dict.fromkeys(each.code for each in checked[path].findings))
        assert row.run == os.path.dirname(path)
        assert row.seconds > 0
    seven = rows[f"{runs}/a/ckpt-7"]
    assert (seven.iterations, seven.counts, seven.slots, seven.missing) == (7, (7,), 8, 0)
    assert seven.bytes == sum(each.stat().st_size for each in (runs / "a").glob("ckpt-7.*"))
    assert seven.optimizer_bytes == 400
    assert rows[f"{runs}/cut.keras"].error is not None
    assert found.summary.artifacts == len(rows)
    assert found.exit_code == 3


def test_a_count_is_lost_where_it_is_needed() -> None:
    """SGD's slots need none, and S002 says so as a remark; S005 is a count that was lost before."""
    row = Row("a", "", "keras-h5", slots=4, status="complete")
    lost = row._replace(status="partial", findings=("S002",))
    reset = row._replace(status="fresh", iterations=0, findings=("S005",))
    assert summarise([row, row._replace(findings=("S002",)), row._replace(status="partial")]).loses_count == {}
    assert summarise([row, lost, reset]).loses_count == {"keras-h5": 2}


def test_resumed(runs: Path, tmp_path: Path) -> None:
    """Nothing is judged twice; what was written anew is, and the part that held it is gone."""
    out = tmp_path / "out"
    scan([runs], out, POLICY, batch=2)
    with pytest.raises(UsageProblem, match="add --resume to go on with it"):
        scan([runs], out, POLICY, batch=2)
    before = {each.name: each.stat().st_mtime_ns for each in out.iterdir()}
    again = scan([runs], out, POLICY, batch=2, resume=True)
    assert (again.judged, again.resumed) == (0, again.batches)
    assert {each.name: each.stat().st_mtime_ns for each in out.iterdir()} == before
    shutil.copy(runs / "keras3.keras", runs / "cut.keras")
    changed = scan([runs], out, POLICY, batch=2, resume=True)
    assert 0 < changed.judged < changed.summary.artifacts
    assert changed.resumed == changed.batches - 1
    assert sorted(row.path for row in _rows(out)) == sorted({row.path for row in _rows(out)})
    assert next(row for row in _rows(out) if row.path.endswith("cut.keras")).error is None


def test_killed_in_the_middle(runs: Path, tmp_path: Path) -> None:
    """What was done stays, what was not is done then; no half of a part is there."""
    out = tmp_path / "out"
    seen = 0

    def stop(_: Row) -> None:
        nonlocal seen
        seen += 1
        if seen == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan([runs], out, POLICY, batch=1, told=stop)
    assert not [each for each in out.iterdir() if each.name.startswith(".")]
    done = len(_rows(out))
    assert done >= 4
    again = scan([runs], out, POLICY, batch=1, resume=True)
    assert again.judged == again.summary.artifacts - done


def test_shards(runs: Path, tmp_path: Path) -> None:
    """Together they are all, and none has what another has; a run is in one."""
    out = tmp_path / "out"
    shards = [Shard(number, 3) for number in (1, 2, 3)]
    for shard in shards:
        scan([runs], out, POLICY, shard=shard)
    whole = tmp_path / "whole"
    scan([runs], whole, POLICY)
    assert sorted(row.path for row in _rows(out, *shards)) == sorted(row.path for row in _rows(whole))
    holders = [{row.run for row in _rows(out, shard)} for shard in shards]
    assert not holders[0] & holders[1]
    assert not holders[1] & holders[2]


def test_batches_stay_when_something_is_added(tmp_path: Path) -> None:
    """One more checkpoint changes the batch that it is in, up to the next cut; the others keep their names."""
    for number in range(200):
        (tmp_path / f"c{number}.h5").touch()
    before = {each.name for each in batches([str(tmp_path)], 10, Shard(), "")}
    (tmp_path / "c100-again.h5").touch()
    after = {each.name for each in batches([str(tmp_path)], 10, Shard(), "")}
    assert len(before) > 10
    assert 0 < len(before - after) <= 3
    assert before != {each.name for each in batches([str(tmp_path)], 10, Shard(), "another policy")}


def test_json_lines_without_pyarrow(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows."""
    scan([runs], tmp_path / "parquet", POLICY)
    monkeypatch.setattr(parts_module, "has_parquet", lambda: False)
    found = scan([runs], tmp_path / "lines", POLICY)
    assert found.form == "jsonl"
    lines = [json.loads(line) for each in (tmp_path / "lines").iterdir() for line in each.read_text().splitlines()]
    assert len(lines) == found.summary.artifacts

    def key(row: Row) -> tuple[Any, ...]:
        return row._replace(seconds=0.0)

    assert sorted(map(key, _rows(tmp_path / "lines"))) == sorted(map(key, _rows(tmp_path / "parquet")))


def test_what_kills_its_reader_is_a_row(tmp_path: Path) -> None:
    """A worker that dies costs the row of what it read; the rows after it are there."""
    folder = tmp_path / "runs"
    folder.mkdir()
    for number in range(40):
        shutil.copy(FIXTURES / "whole-model.h5", folder / f"m{number:02d}.h5")
    before = children()
    killed: list[int] = []

    def told(_: Row) -> None:
        if not killed:
            killed.extend([*children() - before][:1])
            os.kill(killed[0], signal.SIGKILL)

    found = scan([folder], tmp_path / "out", POLICY, jobs=2, batch=1, told=told)
    assert killed
    assert found.summary.artifacts == 40
    assert found.summary.statuses["complete"] >= 39
    lost = [row for row in _rows(tmp_path / "out") if row.error is not None]
    assert len(lost) <= 1
    assert all("died of it" in str(row.error) for row in lost)


def test_bucket(bucket: Bucket, runs: Path, tmp_path: Path) -> None:
    """Artifacts and parts at URLs: the rows of a scan on this machine, with what reading took."""
    url = bucket.put(runs, "scan")
    found = scan([url], f"{bucket.url}/scanned", POLICY, jobs=2)
    rows = {row.path: row for row in Parts(f"{bucket.url}/scanned", Shard(), resume=True).rows()}
    scan([runs], tmp_path / "out", POLICY)
    local = {row.path.replace(str(runs), url): row for row in _rows(tmp_path / "out")}
    assert set(rows) == set(local)
    for path, row in rows.items():
        other = local[path]
        assert (row.verdict, row.status, row.counts, row.bytes, row.findings) == (
            other.verdict, other.status, other.counts, other.bytes, other.findings
        )  # fmt: skip
        assert row.read_requests > 0 or not row.bytes
    assert found.summary.requests == sum(row.read_requests for row in rows.values())
    assert scan([url], f"{bucket.url}/scanned", POLICY, resume=True).judged == 0


def test_command(runs: Path, tmp_path: Path) -> None:
    """Figures on stdout, exit codes as those of check."""
    done = run("scan", runs, "--output", tmp_path / "out", "--jobs", "2")
    assert done.code == 3, done.err
    assert done.out.splitlines()[0].endswith(": 10 artifacts, 2 failed")
    assert "read_parquet" in done.out
    done = run("scan", runs / "a", "--output", tmp_path / "a", "--format", "json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    jsonschema.validate(document, load("scan.schema.json"))
    assert document["summary"]["artifacts"] == 2
    assert document["summary"]["newest"][0]["path"] == f"{runs}/a/ckpt-7"
    for arguments, told in [
        (("--shard", "4/3"), "no part such as"),
        (("--address", "tcp://x:1"), "--engine dask or --engine ray"),
    ]:
        done = run("scan", runs, "--output", tmp_path / "b", *arguments)
        assert done.code == 2
        assert told in done.err
    done = run("scan", tmp_path / "nothing", "--output", tmp_path / "c")
    assert done.code == 2
    assert "no such file" in done.err
