"""How many small artifacts `ckptdoctor scan` judges a second, on each engine, beside one process for each.

    python tests/benchmarks/fleet_speed.py [--artifacts 2000] [--json FILE]

Two workers on this machine. Dask and Ray are clusters of their own here, whose start is in the figures.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from processes import ROOT, run, table

KINDS = ("run-a", "keras3.keras", "whole-model.h5", "optimizer.pkl", "weights-only.h5")
"""What a fleet is made of: TensorFlow's checkpoints, archives, HDF5, pickles."""
ENGINES = {"processes": "", "dask": "distributed", "ray": "ray"}


def fleet(folder: Path, artifacts: int) -> Path:
    """So many small artifacts, each in a directory of its own."""
    for number in range(artifacts):
        source = ROOT / "fixtures" / KINDS[number % len(KINDS)]
        here = folder / f"{number:05d}"
        here.mkdir(parents=True)
        if source.is_dir():
            for each in source.glob("ckpt-7.*"):
                shutil.copy(each, here)
        else:
            shutil.copy(source, here)
    return folder


HEAD = ["engine", "artifacts", "time", "a second", "processor time of each"]


def row(each: dict[str, Any]) -> list[str]:
    """A row of the table."""
    if each["seconds"] is None:
        return [each["engine"], "", "not installed", "", ""]
    count = each["artifacts"]
    return [
        each["engine"], f"{count:,}", f"{each['seconds']:.1f} s", f"{count / each['seconds']:,.0f}",
        f"{1000 * each['processor'] / count:.1f} ms" if each["processor"] else "",
    ]  # fmt: skip


def main() -> None:
    """Measures, and prints a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--artifacts", type=int, default=2000)
    parser.add_argument("--json", help="write the figures here too")
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory(prefix="ckptdoctor-") as temporary:
        many = fleet(Path(temporary) / "many", options.artifacts)
        for engine, needs in ENGINES.items():
            if needs and importlib.util.find_spec(needs) is None:
                found.append({"engine": engine, "artifacts": options.artifacts, "seconds": None})
                continue
            words = ["scan", str(many), "--output", str(Path(temporary) / engine), "--jobs", "2", "--quiet"]
            more = ["--engine", engine] if needs else []
            done = run([sys.executable, "-m", "ckptdoctor", *words, *more], codes=(0, 1))
            own = {"engine": engine, "artifacts": options.artifacts, "seconds": done.seconds}
            # The processes of a cluster are no children of ours.
            found.append({**own, "processor": None if needs else done.processor})
            sys.stderr.write(" | ".join(row(found[-1])) + "\n")
    if options.json:
        Path(options.json).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(table([HEAD, *map(row, found)]))


if __name__ == "__main__":
    main()
