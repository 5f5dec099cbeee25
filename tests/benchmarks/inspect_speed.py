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
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402 - after the path
from support.bundles import Tensor, array, write_bundle, zeros  # noqa: E402
from support.objects import legacy, model, tracked, variables, write_model, write_objects  # noqa: E402

MANY = 30_000
"""Variables of the large checkpoints: with m and v, 90,000 tensors."""

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
        at_most: The ratio that is aimed at.
        needs: The module that it takes.
    """

    name: str
    code: str
    at_most: float
    needs: str


class Case(NamedTuple):
    """One input, how it is made, and its peers.

    Attributes:
        name: As the table shows it.
        make: Writes the input; answers its path.
        peers: What it is held against; their code has the path at `{!r}`.
        megabytes: Most memory, where that is the point.
    """

    name: str
    make: Callable[[Path], str]
    peers: tuple[Peer, ...]
    megabytes: int | None = None


def small(folder: Path) -> str:
    """Two dense layers and Adam: 4 variables, 8 slots."""
    return write_model(folder / "small" / "ckpt-7")


def many_names(folder: Path) -> str:
    """30,000 variables with Adam's slots, by a tf.compat.v1 Saver."""
    tensors: dict[str, Tensor] = {
        "global_step": array(7, "int64"),
        "beta1_power": array(0.43),
        "beta2_power": array(0.99),
    }
    for number in range(MANY):
        name = f"model/block_{number // 16:05d}/layer_{number % 16:02d}/kernel"
        for suffix in ("", "/Adam", "/Adam_1"):
            tensors[name + suffix] = zeros((2, 2))
    return write_bundle(folder / "names" / "model.ckpt-7", tensors)


def many_objects(folder: Path) -> str:
    """30,000 variables with a legacy Adam, by tf.train.Checkpoint."""
    net = model({f"block_{number // 16:05d}/layer_{number % 16:02d}/kernel": (2, 2) for number in range(MANY)})
    return write_objects(folder / "objects" / "ckpt-7", tracked(model=net, optimizer=legacy(variables(net))))


def whole_h5(folder: Path) -> str:
    """A whole model of 50 layers by Keras 3, in HDF5: 100 variables, 200 slots."""
    path = folder / "whole.h5"
    _write_h5(path, layers=50, units=64)
    return str(path)


def large_archive(folder: Path) -> str:
    """A `.keras` of 400 MB: 11 layers of 12 MB and Adam's slots, stored without compression as Keras does."""
    path, weights = folder / "large.keras", folder / "model.weights.h5"
    _write_store(weights, layers=11, shape=(3072, 1024))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1", "date_saved": "2026-11-01@00:00:00"}))
        archive.writestr("config.json", json.dumps(_config(11, 1024)))
        archive.write(weights, "model.weights.h5")
    weights.unlink()
    return str(path)


def _adam() -> dict[str, Any]:
    return {
        "module": "keras.optimizers", "class_name": "Adam", "registered_name": None,
        "config": {
            "name": "adam", "learning_rate": 0.001, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "amsgrad": False,
        },
    }  # fmt: skip


def _config(layers: int, units: int) -> dict[str, Any]:
    dense = [
        {
            "module": "keras.layers",
            "class_name": "Dense",
            "config": {"name": _dense(at), "units": units, "use_bias": False},
        }
        for at in range(layers)
    ]
    return {
        "module": "keras", "class_name": "Sequential", "config": {"name": "sequential", "layers": dense},
        "compile_config": {"optimizer": _adam(), "loss": "mse"},
    }  # fmt: skip


def _dense(number: int) -> str:
    return f"dense_{number}" if number else "dense"


def _write_store(path: Path, *, layers: int, shape: tuple[int, int]) -> None:
    import h5py

    with h5py.File(str(path), "w") as file:
        values = np.zeros(shape, np.float32)
        for number in range(layers):
            file[f"layers/{_dense(number)}/vars/0"] = values
        file["optimizer/vars/0"] = np.int64(7)
        file["optimizer/vars/1"] = np.float32(0.001)
        for number in range(2 * layers):
            file[f"optimizer/vars/{2 + number}"] = values


def _write_h5(path: Path, *, layers: int, units: int) -> None:
    import h5py

    with h5py.File(str(path), "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = "3.15.1", "tensorflow"
        config = _config(layers, units)
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config["config"]})
        file.attrs["training_config"] = json.dumps({"optimizer_config": _adam(), "loss": "mse"})
        weights, names = file.create_group("model_weights"), []
        weights.attrs["layer_names"] = [_dense(number).encode() for number in range(layers)]
        slots = file.create_group("optimizer_weights")
        slots["iteration"], slots["learning_rate"] = np.int64(7), np.float32(0.001)
        for number in range(layers):
            group = weights.create_group(_dense(number))
            own = [f"sequential/{_dense(number)}/{part}" for part in ("kernel", "bias")]
            group.attrs["weight_names"] = [name.encode() for name in own]
            for name, shape in zip(own, ((units, units), (units,)), strict=True):
                group[name] = np.zeros(shape, np.float32)
                for kind in ("momentum", "velocity"):
                    slot = f"adam/{name.replace('/', '_')}_{kind}"
                    slots[slot] = np.zeros(shape, np.float32)
                    names.append(slot.encode())
        slots.attrs["weight_names"] = [b"iteration", b"learning_rate", *names]


_TENSORFLOW = "tf.train.list_variables"
CASES = (
    Case(
        "small TF checkpoint",
        small,
        (Peer(_TENSORFLOW, _LIST, 1 / 25, "tensorflow"), Peer("import click", "import click", 2.5, "click")),
    ),
    Case("90,000 tensors, by name", many_names, (Peer(_TENSORFLOW, _LIST, 1 / 8, "tensorflow"),)),
    Case("90,000 tensors, by object", many_objects, (Peer(_TENSORFLOW, _LIST, 1 / 8, "tensorflow"),)),
    Case("whole model in HDF5", whole_h5, (Peer("h5py, reading", _READ_H5, 1.5, "h5py"),)),
    Case("400 MB .keras", large_archive, (Peer("import h5py", "import h5py", 1.5, "h5py"),), megabytes=120),
)


class Run(NamedTuple):
    """Seconds and peak megabytes of one process."""

    seconds: float
    megabytes: float


def run(arguments: list[str]) -> Run:
    """Runs this interpreter to the end; raises where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
    )
    # wait4 tells the peak of this child alone; getrusage(RUSAGE_CHILDREN) that of the largest so far.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments[:4]} failed with {process.returncode}")
    return Run(seconds, usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1 << 20))


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
        return within and (self.ratio is None or self.ratio <= self.peer.at_most)


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
        f"<= {ratio(each.peer.at_most)}",
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
                measured += measure(case, case.make(Path(folder)), options.repeat)
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
