"""How fast `ckptdoctor check` is, beside its peers, measured in the same run.

    python tests/benchmarks/check_speed.py [--repeat 5] [--megabytes 1024] [--only NAME] [--json FILE] [--check]

Two promises are measured. A thousand small artifacts in one call, of the formats and versions of
fixtures/museum.tar.xz, are checked at 60 times the rate of one process an artifact. And `--deep` of large artifacts
takes at most twice as long as a single numpy pass over the same bytes, `numpy.isfinite`, from the page cache.

Every figure is of a whole process, from its start to its end, and runs alternate with those of the peer, so that a busy
machine slows both; the ratio is of the fastest runs, the median is shown beside it. Two forms of the numpy pass are
shown: over the whole file at once, as one would write it, and block by block in the processor's cache, the fastest that
numpy can be.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from inspect_speed import run
from processes import ROOT

BATCH = 1000
SINGLES = 25
"""So many of them are checked in processes of their own; they stand for all."""

_WHOLE = "import numpy as np; np.isfinite(np.memmap({!r}, np.float32, 'r', shape=({count},))).all()"
_BLOCKS = """
import numpy as np
values = np.memmap({!r}, np.float32, "r", shape=({count},))
for start in range(0, {count}, 1 << 18):
    np.isfinite(values[start : start + (1 << 18)]).all()
"""


class Measured(NamedTuple):
    """A promise and what came of it.

    Attributes:
        name: As the table shows it.
        peer: What it is held against.
        ours: Seconds of each run.
        theirs: Seconds of each run of the peer, for the same work.
        at_most: The ratio that is aimed at; None: shown for comparison.
    """

    name: str
    peer: str
    ours: Sequence[float]
    theirs: Sequence[float]
    at_most: float | None

    @property
    def ratio(self) -> float:
        """Our fastest run over the peer's."""
        return min(self.ours) / min(self.theirs)

    @property
    def holds(self) -> bool:
        """Whether what is aimed at is reached."""
        return self.at_most is None or self.ratio <= self.at_most


def batch(folder: Path, repeat: int) -> list[Measured]:
    """A thousand small artifacts: one call against one process each."""
    with tarfile.open(ROOT / "fixtures" / "museum.tar.xz") as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(folder, filter="data")
        else:
            archive.extractall(folder)
    records = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    paths = [str(folder / record["path"]) for record in records]
    random.Random(7).shuffle(paths)
    chosen = paths[:BATCH]
    sample = chosen[:: BATCH // SINGLES]
    ours, theirs = [], []
    _check(chosen)
    for _ in range(repeat):
        ours.append(_check(chosen))
        theirs.append(statistics.mean(_check([path]) for path in sample) * len(chosen))
    return [Measured(f"{BATCH:,} small artifacts", "one process each", ours, theirs, 1 / 60)]


def _check(paths: Sequence[str]) -> float:
    return run(["-m", "ckptdoctor", "check", "--no-config", "--format", "json", *paths], codes=(0, 1, 3)).seconds


def deep(name: str, make: str, folder: Path, repeat: int, megabytes: int) -> list[Measured]:
    """A large artifact, every byte of it read, against numpy."""
    script = Path(__file__).with_name("inputs.py")
    done = subprocess.run(
        [sys.executable, str(script), make, str(folder), str(megabytes)],
        check=True, stdout=subprocess.PIPE, encoding="utf-8",
    )  # fmt: skip
    path = done.stdout.strip()
    data = path if Path(path).exists() else f"{path}.data-00000-of-00001"
    count = Path(data).stat().st_size // 4
    command = ["-m", "ckptdoctor", "check", "--no-config", "--deep", "--format", "json", path]
    peers = {"numpy.isfinite, whole": (_WHOLE, 2.0), "numpy.isfinite, by blocks": (_BLOCKS, None)}
    ours: list[float] = []
    theirs: dict[str, list[float]] = {peer: [] for peer in peers}
    run(command)  # byte code and the page cache
    for _ in range(repeat):
        ours.append(run(command).seconds)
        for peer, (code, _) in peers.items():
            theirs[peer].append(run(["-c", code.format(data, count=count)]).seconds)
    for file in Path(data).parent.iterdir():
        file.unlink()
    return [Measured(f"--deep, {name}", peer, ours, theirs[peer], at_most) for peer, (_, at_most) in peers.items()]


CASES: dict[str, Callable[[Path, int, int], list[Measured]]] = {
    "small artifacts": lambda folder, repeat, _: batch(folder, repeat),
    "deep TF checkpoint": lambda folder, repeat, megabytes: deep(
        "TF checkpoint", "trained_checkpoint", folder, repeat, megabytes
    ),
    "deep .keras": lambda folder, repeat, megabytes: deep(".keras", "trained_archive", folder, repeat, megabytes),
    "deep .h5": lambda folder, repeat, megabytes: deep(".h5", "trained_h5", folder, repeat, megabytes),
}


def row(each: Measured) -> list[str]:
    """A row of the table."""

    def seconds(runs: Sequence[float]) -> str:
        return f"{min(runs):.2f} ({statistics.median(runs):.2f})"

    def ratio(value: float) -> str:
        return f"1/{1 / value:.1f}" if value < 1 else f"{value:.2f}"

    aim = "" if each.at_most is None else f"<= {ratio(each.at_most)}"
    reached = "" if each.at_most is None else "yes" if each.holds else "NO"
    return [each.name, seconds(each.ours), each.peer, seconds(each.theirs), ratio(each.ratio), aim, reached]


def main() -> None:
    """Measures and prints a table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5, help="runs of each command (default: 5)")
    parser.add_argument("--megabytes", type=int, default=1024, help="size of the large artifacts (default: 1024)")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--json", help="write the figures here too")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    options = parser.parse_args()
    measured: list[Measured] = []
    for name, case in CASES.items():
        if options.only in name:
            with tempfile.TemporaryDirectory(prefix="ckptdoctor-") as folder:
                measured += case(Path(folder), options.repeat, options.megabytes)
    head = ["what", "ckptdoctor, s: min (median)", "peer", "peer, s", "ratio", "target", "reached"]
    rows = [head, ["---"] * len(head), *map(row, measured)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(head))]
    for cells in rows:
        sys.stdout.write(
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |\n"
        )
    if options.json:
        figures = [each._asdict() | {"ratio": each.ratio} for each in measured]
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if options.check and not all(each.holds for each in measured):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
