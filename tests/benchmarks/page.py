"""Makes docs/benchmarks.md: runs every benchmark, keeps the figures as JSON, and renders the page from them.

    python tests/benchmarks/page.py [--quick] [--figures DIR] [--render] [--output FILE] [--against FILE]

`--figures DIR` keeps the JSON files there; `--render` takes them as they are and runs nothing. What a benchmark has
measured already is not measured again as long as its file lies there, so that an interrupted run can go on.

The ratios stand in ratios.json too. `--against tests/benchmarks/ratios.json` writes neither, and ends with 1 where a
ratio is more than 1.5 times what is there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

import fleet_speed
import peers
import prose
import remote_counts
import scale
from processes import ROOT, Run, table

from ckptdoctor import __version__, runs
from ckptdoctor.containers import strict_json
from ckptdoctor.containers.bytes import files
from ckptdoctor.containers.hdf5 import file as hdf5
from ckptdoctor.containers.hdf5 import tables as hdf5_tables
from ckptdoctor.containers.pickles import machine as pickle_machine
from ckptdoctor.containers.pickles import reading as safe_pickle
from ckptdoctor.containers.zips import directory as zip_directory
from ckptdoctor.formats import directories
from ckptdoctor.optimizers.lists import unnamed

LIBRARIES = ("tensorflow", "keras", "tf_keras", "torch", "safetensors", "orbax", "h5py", "numpy", "click")
RATIOS = Path(__file__).with_name("ratios.json")
WORSE = 1.5
_BUSY = 2.0
BENCHMARKS = {
    "peers": (["peers.py"], ["--rounds", "2"]),
    "check": (["check_speed.py", "--repeat", "3"], ["--megabytes", "128"]),
    "graft": (["graft_speed.py", "--gigabytes", "1"], ["--gigabytes", "0.3", "--repeat", "1"]),
    "remote": (["remote_counts.py"], ["--only", "small"]),
    "fleet": (["fleet_speed.py"], ["--artifacts", "300"]),
    "scale": (["scale.py"], ["--quick"]),
}
"""Name of the figures → the script with its options, and what `--quick` adds."""


def limits() -> list[list[str]]:
    """The limits as the code has them."""
    return [
        ["what", "limit", "why there"],
        ["files in a directory", f"{directories.MAX_LISTED:,}", "a checkpoint can be named by its prefix in any"],
        [
            "checkpoints that `check DIR` looks into, beside the latest",
            f"{runs.MOST_MEMBERS:,}",
            "those with the highest numbers; `--all` judges every one",
        ],
        [
            "an index block, an object graph, a SavedModel's objects",
            _bytes(files.MAX_READ),
            "the object graph of a million tensors has 0.2 GB; protocol buffers end at 2 GiB",
        ],
        [
            "groups and data sets of an HDF5 file",
            f"{hdf5_tables.MAX_NODES:,}",
            "ten times the largest below; HDF5 itself takes minutes for more",
        ],
        [
            "an attribute of an HDF5 file",
            _bytes(hdf5.MAX_ATTRIBUTE_BYTES),
            "the configuration of a model of 10,000 layers has a few",
        ],
        ["a JSON configuration", _bytes(strict_json.MAX_BYTES), "the same"],
        [
            "bytes of a zip archive's directory",
            f"{zip_directory.MAX_DIRECTORY:,}",
            "a million members; Keras writes three, an `.npz` one per array",
        ],
        [
            "steps of a pickle",
            f"{pickle_machine.MAX_OPCODES:,}",
            "about 26,000 arrays; larger dumps are written as `.npz` or as a checkpoint",
        ],
        ["elements that a pickle unfolds to", f"{safe_pickle.MAX_NODES:,}", "a memo makes many out of few"],
        [
            "arrays of a dump whose class is inferred",
            f"{unnamed.MAX_ELEMENTS:,}",
            "every reading of the list is tried; above, the arrays are listed and no class is claimed",
        ],
    ]


def _bytes(count: int) -> str:
    return f"{count >> 30} GiB" if count >= 1 << 30 else f"{count >> 20} MiB"


def machine() -> dict[str, Any]:
    """Where and with what the figures are taken."""
    processor = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0
    there = packages_distributions()
    libraries = {name: version(there[name][0]) if name in there else "not installed" for name in LIBRARIES}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": f"{processor}, {os.cpu_count()} cores",
        "memory": f"{memory / (1 << 30):.0f} GiB" if memory else "unknown",
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": platform.python_version(),
        "ckptdoctor": __version__,
        "libraries": libraries,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def take(folder: Path, *, quick: bool) -> None:
    """Runs what has no figures in `folder` yet."""
    note = folder / "machine.json"
    if not note.exists():
        note.write_text(json.dumps(machine(), indent=2) + "\n", encoding="utf-8")
    for name, (words, less) in BENCHMARKS.items():
        target = folder / f"{name}.json"
        if target.exists():
            continue
        part = folder / f"{name}.part"
        script = Path(__file__).with_name(words[0])
        sys.stderr.write(f"{name}:\n")
        done = subprocess.run(
            [sys.executable, str(script), *words[1:], *(less if quick else ()), "--json", str(part)],
            stdout=subprocess.DEVNULL,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        if not done.returncode:
            part.rename(target)
        else:
            sys.stderr.write(f"{name} is left out: it ended with {done.returncode}\n")
    figures = json.loads(note.read_text(encoding="utf-8"))
    figures["load after"] = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    note.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def render(folder: Path) -> str:
    """The page, from the figures in a folder; a benchmark without figures is named."""
    parts = [prose.HEAD, _where(_read(folder, "machine") or machine())]
    beside = _read(folder, "peers")
    if beside is None:
        parts += [prose.PEERS, prose.MISSING]
    else:
        floors = [each for each in beside if each["peer"].startswith("floor: ")]
        others = [each for each in beside if each not in floors]
        for each in floors:
            each["peer"] = f"`{each['peer'].removeprefix('floor: ')}`"
        parts += [prose.PEERS, table([peers.HEAD, *map(peers.row, others)])]
        parts += [prose.FLOOR, table([peers.HEAD, *map(peers.row, floors)])]
    check = _read(folder, "check")
    parts += [prose.CHECK, prose.MISSING if check is None else _check(check)]
    graft = _read(folder, "graft")
    parts += [prose.GRAFT, prose.MISSING if graft is None else _graft(graft)]
    for text, module, name in ((prose.REMOTE, remote_counts, "remote"), (prose.FLEET, fleet_speed, "fleet")):
        counted = _read(folder, name)
        parts += [text, prose.MISSING if counted is None else table([module.HEAD, *map(module.row, counted)])]
    parts += [prose.MISSED, table(prose.WHY), *_growth(_read(folder, "scale"))]
    parts += [prose.LIMITS, table(limits())]
    return "\n".join(parts)


def ratios(folder: Path) -> dict[str, float]:
    """The ratios of the fastest runs, by what was held against what."""
    found: dict[str, float] = {}
    for each in _read(folder, "peers") or []:
        if each["theirs"]:
            ours, theirs = (min(one["seconds"] for one in each[whose]) for whose in ("ours", "theirs"))
            found[f"{each['case']} / {each['peer']}"] = ours / theirs
    for each in _read(folder, "check") or []:
        found[f"check, {each['name']} / {each['peer']}"] = min(each["ours"]) / min(each["theirs"])
    ways = {way["way"]: way for way in _read(folder, "graft") or []}
    for way in ways.values():
        for name, _ in way["peers"]:
            found[f"{way['way']} / {name}"] = min(way["seconds"]) / min(ways[name]["seconds"])
    return found


def worse(now: dict[str, float], before: dict[str, float]) -> list[str]:
    """What takes more than 1.5 times what it took, beside the same peer."""
    return [
        f"{name}: {peers.ratio(now[name])}, and it was {peers.ratio(was)}"
        for name, was in before.items()
        if name in now and now[name] > WORSE * was
    ]


def _read(folder: Path, name: str) -> Any:
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _where(found: dict[str, Any]) -> str:
    libraries = ", ".join(f"{name} {number}" for name, number in found["libraries"].items())
    load = ""
    if found.get("load") is not None:
        after = found.get("load after")
        load = f" Load of the machine: {found['load']:.1f} before" + (f", {after:.1f} after" if after else "") + "."
        if found["load"] > _BUSY:
            load += " It was busy with other work: a quiet one takes a fraction of what the clock says here."
    return (
        f"Taken on {found['date']} with ckptdoctor {found['ckptdoctor']}, Python {found['python']}, {libraries}; "
        f"{found['processor']}, {found['memory']} of memory, {found['system']}.{load}\n"
    )


def _check(figures: list[dict[str, Any]]) -> str:
    lines = [["what", "time", "beside", "its time", "ratio", "in the rounds"]]
    for each in figures:
        times = [f"{min(each[whose]):.2f} s" for whose in ("ours", "theirs")]
        lines.append([each["name"], times[0], each["peer"], times[1], *_ratios(each["ours"], each["theirs"])])
    return table(lines)


def _graft(ways: list[dict[str, Any]]) -> str:
    by_name = {way["way"]: way for way in ways}
    lines = [["way", "time", "peak", "beside", "ratio", "in the rounds", "goal"]]
    for way in ways:
        head = [way["way"], f"{min(way['seconds']):.2f} s", f"{max(way['megabytes']):,.0f} MB"]
        if not way["peers"]:
            lines.append([*head, "", "", "", ""])
        for name, goal in way["peers"]:
            theirs = by_name[name]["seconds"]
            reached = peers.aimed(goal, min(way["seconds"]) / min(theirs))
            lines.append([*head, name, *_ratios(way["seconds"], theirs), reached])
            head = ["", "", ""]
    return table(lines)


def _ratios(ours: list[float], theirs: list[float]) -> list[str]:
    """The ratio of the fastest runs, and the least and the greatest one of a round."""
    spread = sorted(one / other for one, other in zip(ours, theirs, strict=True))
    return [peers.ratio(min(ours) / min(theirs)), f"{peers.ratio(spread[0])} … {peers.ratio(spread[-1])}"]


def _growth(figures: list[dict[str, Any]] | None) -> list[str]:
    if figures is None:
        return [prose.SCALE, prose.MISSING]
    kinds = {kind.name: kind for kind in scale.KINDS}
    linear, flat = [scale.HEAD], [scale.HEAD]
    grouped: dict[tuple[str, str], list[scale.Measured]] = {}
    for each in figures:
        run = Run(each["seconds"], each["megabytes"], each["processor"]) if "seconds" in each else None
        made = scale.Measured(kinds[each["kind"]], tuple(each["command"].split()), each["size"], run)
        grouped.setdefault((each["kind"], each["command"]), []).append(made)
    for (kind, _), found in grouped.items():
        (flat if kinds[kind].unit == "bytes" else linear).extend(scale.rows(found))
    return [prose.SCALE, table(linear), prose.FLAT, table(flat)]


def main() -> None:
    """Measures what has to be, and writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller inputs")
    parser.add_argument("--figures", help="keep the figures here")
    parser.add_argument("--render", action="store_true", help="measure nothing")
    parser.add_argument("--output", default=str(ROOT / "docs" / "benchmarks.md"), help="default: docs/benchmarks.md")
    parser.add_argument("--against", help="hold the ratios against those in this file, and write nothing")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ckptdoctor-") as temporary:
        folder = Path(options.figures or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not options.render:
            take(folder, quick=options.quick)
        page, now = render(folder), ratios(folder)
    if options.against:
        found = worse(now, json.loads(Path(options.against).read_text(encoding="utf-8")))
        sys.stdout.write("".join(f"{each}\n" for each in found) or "nothing is slower\n")
        raise SystemExit(1 if found else 0)
    output = Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(page, encoding="utf-8")
    RATIOS.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(f"{output}\n")


if __name__ == "__main__":
    main()
