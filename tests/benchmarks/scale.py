"""How time and memory of `ckptdoctor` grow with what it reads: tensors, nodes, data sets, bytes, checkpoints.

    python tests/benchmarks/scale.py [--quick] [--only NAME] [--json FILE] [--folder DIR] [--check]

Inputs are generated without TensorFlow, three sizes of each kind; tensor data are holes in sparse files. Every figure
is of a whole process, from its start to its end. Growth is that of processor seconds, which a busy machine changes less
than what the clock says; each is the smaller one of two runs, where a run is short. `--check` fails where a command
grows faster than its input, or needs memory for tensors' bytes. `--folder` keeps the inputs for another time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from processes import Run, TookTooLong, made, run, table

WITHIN = 300
"""Seconds that one command may take."""
_SLACK = 1.35
"""By how much time may grow faster than the input: caches that no longer hold it, a busy machine."""
_FLAT = 1.3
"""By how much memory may differ where it should not grow."""


class Kind(NamedTuple):
    """Inputs of one kind, in sizes.

    Attributes:
        name: As the table shows it.
        make: The function in scale_inputs.py that writes one.
        sizes: From small to large.
        unit: What the size counts.
        commands: What is run on it, without the path.
        flat: Nothing should grow with the size.
        quick: How many of the sizes `--quick` takes.
    """

    name: str
    make: str
    sizes: tuple[int, ...]
    unit: str
    commands: tuple[tuple[str, ...], ...] = (("inspect",), ("check",))
    flat: bool = False
    quick: int = 2


_THOUSANDS = (10_000, 100_000, 1_000_000)
_BYTES = (1_000_000, 1_000_000_000, 20_000_000_000)
_ALL = (("inspect",), ("inspect", "--all"), ("check",), ("check", "--all"))
_READ = (("inspect", "--stats"), ("check", "--deep"))
KINDS = (
    Kind("TF checkpoint by name", "names", _THOUSANDS, "tensors"),
    Kind("TF checkpoint by object", "objects", _THOUSANDS, "tensors"),
    Kind("object graph, Keras 3", "graph", (2_000, 20_000, 200_000), "nodes"),
    Kind("30,000 tensors in data files", "shards", (1, 8, 64), "files", flat=True),
    Kind("SavedModel, GraphDef", "saved_graph", (3_000_000, 30_000_000, 300_000_000), "bytes", flat=True),
    Kind("whole model in HDF5", "h5_data_sets", (1_000, 10_000, 100_000), "data sets"),
    Kind(".keras", "archive_layers", (100, 1_000, 10_000), "layers"),
    Kind("pickled list", "pickled", (100, 1_000, 10_000), "arrays"),
    Kind("run directory", "directory", (100, 1_000, 10_000), "checkpoints", _ALL),
    Kind("TF checkpoint, three tensors of", "tensor_bytes", _BYTES, "bytes", flat=True, quick=3),
    Kind(".weights.h5, three tensors of", "h5_bytes", _BYTES, "bytes", flat=True, quick=3),
    Kind(
        "TF checkpoint, data read", "tensor_bytes", _BYTES[:2], "bytes", (("inspect", "--stats"), ("check", "--deep"))
    ),
    Kind(".weights.h5, data read", "h5_bytes", _BYTES[:2], "bytes", (("inspect", "--stats"), ("check", "--deep"))),
)


class Measured(NamedTuple):
    """A command on one size; without a run, it took too long."""

    kind: Kind
    command: tuple[str, ...]
    size: int
    run: Run | None


def measure(kind: Kind, sizes: tuple[int, ...], folder: Path) -> list[Measured]:
    """Makes the inputs of a kind, and runs every command on each."""
    paths = {size: _input(kind.make, size, folder) for size in sizes}
    return [Measured(kind, command, size, _run(command, paths[size])) for command in kind.commands for size in paths]


def _input(make: str, size: int, folder: Path) -> str:
    note = folder / f"{make}-{size}.path"
    if not note.exists():
        note.write_text(made("scale_inputs.py", make, str(size), str(folder)), encoding="utf-8")
    return note.read_text(encoding="utf-8")


def _run(command: tuple[str, ...], path: str) -> Run | None:
    words = [sys.executable, "-m", "ckptdoctor", *command, "--format", "json", path]
    try:
        first = run(words, within=WITHIN, codes=(0, 1))
        again = run(words, within=WITHIN, codes=(0, 1)) if first.seconds < 5 else first
    except TookTooLong:
        return None
    return min(first, again, key=lambda each: each.processor)


def rows(found: list[Measured]) -> list[list[str]]:
    """The table's rows for one command."""
    shown: list[list[str]] = []
    for at, each in enumerate(found):
        cells = [each.kind.name, " ".join(each.command), f"{each.size:,} {each.kind.unit}"]
        before = found[at - 1] if at else None
        if each.run is None:
            shown.append([*cells, f"over {WITHIN} s", "", "", "", "", ""])
            continue
        cells += [f"{each.run.seconds:.2f} s", f"{each.run.processor:.2f} s", f"{each.run.megabytes:,.0f} MB"]
        if before is None or before.run is None:
            shown.append([*cells, "", "", ""])
            continue
        cells += [
            f"{each.size / before.size:,.0f}",
            f"{each.run.processor / before.run.processor:.1f}",
            f"{each.run.megabytes / before.run.megabytes:.1f}",
        ]
        shown.append(cells)
    return shown


def faults(found: list[Measured]) -> list[str]:
    """What grew faster than its input, or grew where nothing should."""
    wrong: list[str] = []
    for at, each in enumerate(found):
        what = f"{each.kind.name}, {' '.join(each.command)}, {each.size:,} {each.kind.unit}"
        if each.run is None:
            wrong.append(f"{what}: over {WITHIN} s")
            continue
        before = found[at - 1].run if at else None
        if before is None:
            continue
        factor = 1.0 if each.kind.flat else each.size / found[at - 1].size
        reads = each.kind.unit == "bytes"
        if each.run.processor > before.processor * factor * _SLACK + 0.05:
            wrong.append(f"{what}: {before.processor:.2f} s became {each.run.processor:.2f} s")
        if each.run.megabytes > before.megabytes * (1.0 if reads else factor) * _FLAT + (60 if reads else 5):
            wrong.append(f"{what}: {before.megabytes:.0f} MB became {each.run.megabytes:.0f} MB")
    return wrong


HEAD = ["input", "command", "size", "clock", "processor", "peak", "size grew", "processor grew", "peak grew"]


def main() -> None:
    """Measures and prints a table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smaller sizes only: a minute")
    parser.add_argument("--only", default="", help="kinds whose name contains this")
    parser.add_argument("--json", help="write the figures here too")
    parser.add_argument("--folder", help="keep the inputs here")
    parser.add_argument("--check", action="store_true", help="exit with 1 where growth is not linear")
    options = parser.parse_args()
    folder = Path(options.folder or tempfile.mkdtemp(prefix="ckptdoctor-"))
    folder.mkdir(parents=True, exist_ok=True)
    lines, wrong, figures = [HEAD], list[str](), []
    try:
        for kind in KINDS:
            if options.only not in kind.name:
                continue
            sizes = kind.sizes[: kind.quick] if options.quick else kind.sizes
            found = measure(kind, sizes, folder)
            for command in kind.commands:
                own = [each for each in found if each.command == command]
                lines += rows(own)
                wrong += faults(own)
                sys.stderr.write("".join(" | ".join(cells) + "\n" for cells in rows(own)))
            figures += [
                {"kind": each.kind.name, "command": " ".join(each.command), "size": each.size, "unit": each.kind.unit,
                 **(each.run._asdict() if each.run else {})}
                for each in found
            ]  # fmt: skip
            if options.json:  # at once: the whole takes minutes
                Path(options.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
            if not options.folder:
                for path in folder.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
    finally:
        if not options.folder:
            shutil.rmtree(folder)
    sys.stdout.write(table(lines))
    for fault in wrong:
        sys.stderr.write(f"{fault}\n")
    if options.check and wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
