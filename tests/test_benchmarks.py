"""The benchmarks' inputs are what the tables say that they are, and faults in growth are seen."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import page
import peers
import processes
import pytest
import scale

import ckptdoctor
from ckptdoctor.state import Status


@pytest.mark.parametrize(
    ("maker", "size", "variables", "slots"),
    [
        ("names", 48, 16, 32),
        ("objects", 48, 16, 32),
        ("graph", 60, 20, 40),
        ("shards", 7, 10_000, 20_000),
        ("tensor_bytes", 1_000_000, 1, 2),
        ("saved_graph", 3_000, 4, 8),
        ("h5_data_sets", 60, 20, 40),
        ("h5_data_sets", 9_000, 3_000, 6_000),
        ("h5_bytes", 1_000_000, 1, 2),
        ("archive_layers", 12, 12, 24),
        ("pickled", 100, 0, 100),
        ("directory", 3, 4, 8),
    ],
)
def test_inputs(tmp_path: Path, maker: str, size: int, variables: int, slots: int) -> None:
    """Each input is a complete state: so many variables, so many slots, at a count that is no accident."""
    path = processes.made("scale_inputs.py", maker, str(size), str(tmp_path))
    (found,) = ckptdoctor.inspect(path)
    assert found.state is not None, found.verdict
    assert found.status is Status.COMPLETE, found.verdict
    assert len(found.state.variables) == variables
    assert sum(len(each.slots) for each in found.optimizers) == slots
    iterations = {each.iterations for each in found.optimizers} | set(found.state.counters.values())
    assert (size if maker == "directory" else 7) in iterations


def test_sparse_data_is_sound(tmp_path: Path) -> None:
    """Small tensors of a sparse checkpoint have the checksums of what is read there."""
    path = processes.made("scale_inputs.py", "objects", "48", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "ckptdoctor", "check", "--deep", "--ignore", "S006", path], check=False, timeout=60
    )
    assert done.returncode == 0


def test_a_run_that_takes_too_long() -> None:
    """A process is ended when its time is over, and one that fails is not a result."""
    with pytest.raises(processes.TookTooLong):
        processes.run([sys.executable, "-c", "import time; time.sleep(60)"], within=0.2)
    with pytest.raises(SystemExit):
        processes.run([sys.executable, "-c", "raise SystemExit(3)"])
    assert processes.run([sys.executable, "-c", "b'x' * 200_000_000"]).megabytes > 190


def test_growth() -> None:
    """What grows faster than its input is a fault, in time or memory; what grows with it is none."""
    kind = scale.Kind("things", "names", (10, 100), "tensors")
    flat = kind._replace(unit="bytes", flat=True)

    def seen(kind: scale.Kind, *runs: tuple[float, float]) -> list[str]:
        found = [
            scale.Measured(kind, ("inspect",), size, processes.Run(seconds, memory, seconds))
            for size, (seconds, memory) in zip(kind.sizes, runs, strict=True)
        ]
        assert len(scale.rows(found)) == len(runs)
        return scale.faults(found)

    assert seen(kind, (0.1, 20), (1.0, 200)) == []
    assert len(seen(kind, (0.1, 20), (3.0, 200))) == 1
    assert len(seen(kind, (0.1, 20), (1.0, 400))) == 1
    assert seen(flat, (0.1, 20), (0.1, 21)) == []
    assert len(seen(flat, (0.1, 20), (1.0, 200))) == 2


def test_ratios() -> None:
    """The ratio is of the fastest runs, the spread of those of one round; a peer that is not here has none."""
    ours, theirs = [(1.0, 20.0, 1.0), (2.0, 20.0, 1.0)], [(4.0, 300.0, 2.0), (20.0, 300.0, 2.0)]
    named = ("seconds", "megabytes", "processor")
    each: dict[str, object] = {
        "case": "a file", "peer": "a peer", "needs": "",
        "ours": [dict(zip(named, one, strict=True)) for one in ours],
        "theirs": [dict(zip(named, one, strict=True)) for one in theirs],
    }  # fmt: skip
    assert peers.row(each)[2:] == ["1.00 s", "4.00 s", "1/4.0", "", "1/10.0 … 1/4.0", "1/2.0", "20 / 300 MB"]
    assert peers.row({**each, "goal": 1 / 6})[5] == "1/6.0: missed"
    assert peers.row({**each, "goal": 1 / 3})[5] == "1/3.0: met"
    assert "it is not installed" in peers.row({**each, "needs": "it", "theirs": [], "ours": []})[3]


def test_page(tmp_path: Path) -> None:
    """The page has a row for every figure, says what was not measured, and has the limits of the code."""
    assert page.render(tmp_path).count("Not measured in this run.") == 6
    times = [{"seconds": 2.0, "megabytes": 20.0, "processor": 1.0}]
    beside = {"case": "a file", "command": "inspect", "needs": "", "ours": times, "theirs": times}
    growing = {"kind": "run directory", "command": "check --all", "unit": "checkpoints"}
    way = {"seconds": [2.0, 3.0], "megabytes": [44.0, 43.0]}
    figures: dict[str, object] = {
        "peers": [{**beside, "peer": "a tool"}, {**beside, "peer": "floor: cat"}],
        "check": [{"name": "a thousand", "peer": "one each", "ours": [1.0, 1.0], "theirs": [50.0, 60.0]}],
        "graft": [
            {"way": "a script", **way, "peers": []},
            {"way": "graft", "seconds": [0.5, 0.5], "megabytes": [9.0], "peers": [["a script", 0.2]]},
        ],
        "remote": [{"name": "2 GB file of torch.save", "size": 2_000_000_000, "requests": 4, "bytes": 300_000}],
        "fleet": [
            {"engine": "processes", "artifacts": 2000, "seconds": 10.0, "processor": 18.0},
            {"engine": "dask", "artifacts": 2000, "seconds": 20.0, "processor": None},
            {"engine": "ray", "artifacts": 2000, "seconds": None},
        ],
        "scale": [{**growing, "size": 100, **times[0]}, {**growing, "size": 1000}],
    }
    for name, each in figures.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(each), encoding="utf-8")
    text = " ".join(page.render(tmp_path).split())
    assert "Not measured" not in text
    assert "| a file | a tool | 2.00 s | 2.00 s | 1.00 | | 1.00 … 1.00 | 1.00 | 20 / 20 MB |" in text
    assert "| a file | `cat` |" in text
    assert "| a thousand | 1.00 s | one each | 50.00 s | 1/50.0 | 1/60.0 … 1/50.0 |" in text
    assert "| graft | 0.50 s | 9 MB | a script | 1/4.0 | 1/6.0 … 1/4.0 | 1/5.0: missed |" in text
    assert "| 2 GB file of torch.save | 2,000.0 MB | 4 | 0.30 MB | 5 requests |" in text
    assert "| processes | 2,000 | 10.0 s | 200 | 9.0 ms |" in text
    assert "| ray | | not installed |" in text
    assert "| run directory | check --all | 1,000 checkpoints | over 300 s |" in text
    assert page.ratios(tmp_path) == {
        "a file / a tool": 1.0,
        "a file / floor: cat": 1.0,
        "check, a thousand / one each": 0.02,
        "graft / a script": 0.25,
    }
    assert page.worse({"a": 0.31, "b": 0.29, "new": 9.0}, {"a": 0.2, "b": 0.2, "gone": 1.0}) == [
        "a: 1/3.2, and it was 1/5.0"
    ]
    assert "| steps of a pickle | 800,000 |" in text
