"""How fast `ckptdoctor inspect` is, beside its peers, measured in the same run.

    python tests/benchmarks/inspect_speed.py [--repeat 7] [--only NAME] [--json FILE] [--check]

Every figure is of a whole process, from its start to its end: what a user waits for. Runs alternate between ckptdoctor
and its peer, so that a busy machine slows both; the ratio is of the fastest runs, the spread is shown beside it. Inputs
are generated in a temporary folder without TensorFlow. Where TensorFlow is not installed, its column says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import processes
from processes import Run

_LIST = "import tensorflow as tf; tf.train.list_variables({!r})"
_READ_H5 = """
import h5py
def visit(name, item):
    if isinstance(item, h5py.Dataset):
        item.shape, item.dtype
with h5py.File({!r}, "r") as file:
    dict(file.attrs)
    file.visititems(visit)
    for name in file["model_weights"]:
        list(file["model_weights"][name].attrs["weight_names"])
    file["optimizer_weights/iteration"][()]
"""


class Peer(NamedTuple):
    """What ckptdoctor is held against, and how much of its time it may take.

    Attributes:
        name: As the table shows it.
        code: Run by this interpreter.
        at_most: The ratio that is aimed at; None: the peer is there to compare with.
        needs: The module that it takes.
    """

    name: str
    code: str
    at_most: float | None
    needs: str


class Case(NamedTuple):
    """One input, how it is made, and its peers.

    Attributes:
        name: As the table shows it.
        make: The function in inputs.py that writes the input.
        peers: What it is held against; their code has the path at `{!r}`.
        megabytes: Most memory, where that is the point.
    """

    name: str
    make: str
    peers: tuple[Peer, ...]
    megabytes: int | None = None


_TENSORFLOW = "tf.train.list_variables"
CASES = (
    Case(
        "small TF checkpoint",
        "small",
        (Peer(_TENSORFLOW, _LIST, 1 / 25, "tensorflow"), Peer("import click", "import click", 2.5, "click")),
    ),
    Case("90,000 tensors, by name", "many_names", (Peer(_TENSORFLOW, _LIST, 1 / 8, "tensorflow"),)),
    Case("90,000 tensors, by object", "many_objects", (Peer(_TENSORFLOW, _LIST, 1 / 8, "tensorflow"),)),
    Case("whole model in HDF5", "whole_h5", (Peer("h5py, reading", _READ_H5, 1.5, "h5py"),)),
    Case("400 MB .keras", "large_archive", (Peer("import h5py", "import h5py", None, "h5py"),), megabytes=120),
)


def run(arguments: Sequence[str], *, codes: Sequence[int] = (0,)) -> Run:
    """Runs this interpreter to the end; raises SystemExit where it ends with another code."""
    return processes.run([sys.executable, *arguments], codes=codes)


class Measured(NamedTuple):
    """A case against one peer."""

    case: Case
    peer: Peer
    ours: list[Run]
    theirs: list[Run] | None

    @property
    def ratio(self) -> float | None:
        """Our fastest run over the peer's."""
        return min(self.ours).seconds / min(self.theirs).seconds if self.theirs else None

    @property
    def holds(self) -> bool:
        """Whether what is aimed at is reached, as far as it could be measured."""
        within = self.case.megabytes is None or max(each.megabytes for each in self.ours) < self.case.megabytes
        return within and (self.ratio is None or self.peer.at_most is None or self.ratio <= self.peer.at_most)


def measure(case: Case, path: str, repeat: int) -> list[Measured]:
    """Runs a case and its peers in turn."""
    command = ["-m", "ckptdoctor", "inspect", "--format", "json", path]
    found = []
    for peer in case.peers:
        there = importlib.util.find_spec(peer.needs) is not None
        run(command)  # byte code and disk cache
        ours: list[Run] = []
        theirs: list[Run] = []
        # A peer that takes seconds varies less: a few runs of it are enough.
        for number in range(repeat):
            ours.append(run(command))
            if there and (number < 3 or peer.needs != "tensorflow"):
                theirs.append(run(["-c", peer.code.format(path)]))
        found.append(Measured(case, peer, ours, theirs or None))
    return found


def row(each: Measured) -> list[str]:
    """A row of the table."""

    def times(runs: list[Run]) -> str:
        seconds = [one.seconds for one in runs]
        return f"{min(seconds) * 1000:,.0f} ({statistics.median(seconds) * 1000:,.0f})"

    def ratio(value: float) -> str:
        return f"1/{1 / value:.1f}" if value < 1 else f"{value:.2f}"

    memory = f"{max(one.megabytes for one in each.ours):,.0f} MB"
    if each.case.megabytes is not None:
        memory += f" of {each.case.megabytes}"
    return [
        each.case.name,
        times(each.ours),
        memory,
        each.peer.name,
        times(each.theirs) if each.theirs else f"{each.peer.needs} is not installed",
        ratio(each.ratio) if each.ratio is not None else "",
        f"<= {ratio(each.peer.at_most)}" if each.peer.at_most else "",
        "" if each.ratio is None and each.case.megabytes is None else "yes" if each.holds else "NO",
    ]


def main() -> None:
    """Measures and prints a table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=7, help="runs of each command (default: 7)")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--json", help="write the figures here too")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    options = parser.parse_args()
    measured: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="ckptdoctor-") as folder:
        for case in CASES:
            if options.only in case.name:
                measured += measure(case, processes.made("inputs.py", case.make, folder), options.repeat)
    head = ["input", "ckptdoctor, ms: min (median)", "peak", "peer", "peer, ms", "ratio", "target", "reached"]
    rows = [head, ["---"] * len(head), *map(row, measured)]
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(head))]
    for cells in rows:
        sys.stdout.write(
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |\n"
        )
    if options.json:
        figures = [
            {"case": each.case.name, "peer": each.peer.name, "ratio": each.ratio, "target": each.peer.at_most,
             "seconds": [one.seconds for one in each.ours], "megabytes": max(one.megabytes for one in each.ours),
             "peer_seconds": [one.seconds for one in each.theirs or ()]}
            for each in measured
        ]  # fmt: skip
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if options.check and not all(each.holds for each in measured):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
