"""What `scan` says nothing of is nothing: everything below a prefix is a row, once, and of what is there now."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import environment
from support.museum import FIXTURES
from support.privileges import renounce
from support.remote.servers import Bucket, Web, hub

from ckptdoctor.checking.policy import Policy
from ckptdoctor.errors import Refused
from ckptdoctor.formats import directories
from ckptdoctor.scanning.listing import Shard, batches
from ckptdoctor.scanning.parts import Parts
from ckptdoctor.scanning.rows import Row
from ckptdoctor.scanning.run import Scan, scan

POLICY = Policy()
KERAS = FIXTURES / "keras3.keras"


def _scan(output: Path, *prefixes: Path | str, resume: bool = False) -> tuple[Scan, dict[str, Row]]:
    found = scan(prefixes, output, POLICY, resume=resume, batch=1)
    rows = list(Parts(str(output), Shard(), resume=True).rows())
    assert len(rows) == len({row.path for row in rows})
    return found, {row.path: row for row in rows}


def test_directories_of_any_name_and_depth(tmp_path: Path) -> None:
    """A model that is called as a log is; one below forty directories; a link in a circle leads nowhere."""
    folder = tmp_path / "runs"
    shutil.copytree(FIXTURES / "savedmodel", folder / "export.out")
    deep = folder.joinpath(*"d" * 40)
    deep.mkdir(parents=True)
    shutil.copy(KERAS, deep / "m.keras")
    (deep / "again").symlink_to(folder)
    _, rows = _scan(tmp_path / "out", folder)
    assert set(rows) == {f"{folder}/export.out", f"{deep}/m.keras"}


def test_prefixes_that_overlap(tmp_path: Path) -> None:
    """Each artifact once, whichever of its prefixes is named first."""
    folder = tmp_path / "runs"
    shutil.copytree(FIXTURES / "run-a", folder / "a")
    shutil.copytree(FIXTURES / "savedmodel", folder / "saved")
    shutil.copy(KERAS, folder / "m.keras")
    models = [folder / "a" / "ckpt-7", folder / "saved", folder / "m.keras"]
    inside: list[Path | str] = [folder / "a", *models, f"{folder}/m.keras/"]
    every: list[list[Path | str]] = [[folder, *inside], [*inside, folder], [folder, folder]]
    for number, prefixes in enumerate(every):
        _, rows = _scan(tmp_path / str(number), *prefixes)
        assert len(rows) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="permissions are others there")
def test_what_is_denied_here(tmp_path: Path) -> None:
    """A directory that cannot be listed, a file that cannot be opened, whatever it is called."""
    folder = tmp_path / "runs"
    (folder / "locked").mkdir(parents=True)
    shutil.copy(KERAS, folder / "model")
    for each in folder.iterdir():
        each.chmod(0)
    command = [sys.executable, "-m", "ckptdoctor", "scan", str(folder), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, check=False, env=environment(), preexec_fn=renounce)
    (folder / "locked").chmod(0o700)
    assert done.returncode == 3, done.stderr
    rows = Parts(str(tmp_path / "out"), Shard(), resume=True).rows()
    assert {os.path.basename(row.path): row.unreachable for row in rows} == {"locked": True, "model": True}


def test_directories_that_are_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row says so."""
    monkeypatch.setattr(directories, "MAX_LISTED", 3)
    for number in range(5):
        (tmp_path / "runs" / "large").mkdir(parents=True, exist_ok=True)
        (tmp_path / "runs" / "large" / f"m{number}.keras").touch()
    found, rows = _scan(tmp_path / "out", tmp_path / "runs")
    assert found.exit_code == 3
    assert "more than 3 files" in str(rows[f"{tmp_path}/runs/large"].error)


def test_what_could_not_be_had_is_judged_again(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Access is denied to some, which are rows; later it is not, and --resume judges those, and those alone."""
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    names = [f"run/m{number}.keras" for number in range(6)] + ["run/model"]
    hub(web, "owner/name", dict.fromkeys(names, KERAS.read_bytes()))
    web.faults |= {f"/owner/name/resolve/main/run/{name}": [403] * 99 for name in ("m3.keras", "model")}
    found, rows = _scan(tmp_path / "out", "hf://owner/name")
    assert found.exit_code == 3
    assert {path for path, row in rows.items() if row.unreachable} == {
        "hf://owner/name/run/m3.keras",
        "hf://owner/name/run/model",
    }
    web.faults.clear()
    found, rows = _scan(tmp_path / "out", "hf://owner/name", resume=True)
    assert (found.exit_code, found.judged, len(rows)) == (0, 2, 7)
    assert _scan(tmp_path / "out", "hf://owner/name", resume=True)[0].judged == 0


@pytest.mark.parametrize("part", ["a/ckpt-7.data-00000-of-00001", "saved/variables/variables.data-00000-of-00001"])
def test_any_part_that_was_written_anew(tmp_path: Path, part: str) -> None:
    """A data file, a file within a SavedModel: its batch is another one, and all others are as they were."""
    folder = tmp_path / "runs"
    shutil.copytree(FIXTURES / "run-a", folder / "a")
    shutil.copytree(FIXTURES / "savedmodel", folder / "saved")
    (folder / "out").mkdir()

    def names() -> list[str]:
        return [each.name for each in batches([str(folder)], 1, Shard(), "")]

    before = names()
    (folder / "out" / "part.parquet").touch()  # a scan may write below its own prefix
    assert names() == before
    os.utime(folder / part, (1, 1))
    assert len(set(before) - set(names())) == 1


def test_a_directory_in_a_bucket_that_was_written_anew(bucket: Bucket) -> None:
    """It has no time of its own there: its files have."""
    url = bucket.put(FIXTURES / "savedmodel", "anew/saved")
    before = [each.name for each in batches([url], 1, Shard(), "")]
    (local,) = (FIXTURES / "savedmodel").rglob("variables.index")
    bucket.put(KERAS, f"anew/saved/variables/{local.name}")
    assert [each.name for each in batches([url], 1, Shard(), "")] != before


@pytest.mark.parametrize("output", ["https://127.0.0.1:9/out", "hf://owner/name/out", "s3://bucket"])
def test_where_no_part_can_be_put(tmp_path: Path, output: str) -> None:
    """Refused before anything is judged."""
    with pytest.raises(Refused, match="only buckets"):
        scan([tmp_path], output, POLICY)
