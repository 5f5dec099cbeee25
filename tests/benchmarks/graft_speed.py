"""How fast `ckptdoctor graft` is, beside the TensorFlow script that people write and beside `cp`, in the same run.

    python tests/benchmarks/graft_speed.py [--gigabytes 2] [--repeat 3] [--folder DIR] [--only NAME]
        [--json FILE] [--check]

Needs TensorFlow, tf_keras, Keras 3 and PyTorch, which also make the inputs: checkpoints, HDF5 files, `.keras`
archives and files of torch.save of a model with its Adam state, of about the size asked for, and their weights-only
twins. They are made in a temporary folder, or in DIR, where they are used again. Runs of all ways alternate, so
that a busy machine slows each of them; ratios are of the fastest runs. Peak memory is the child's own. What a graft
writes is on the disk when it ends, so that `cp` is given twice: as it is, and with a `sync` of what it wrote.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

_MODEL = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
import tensorflow as tf, tf_keras as keras
layer = inputs = keras.Input(({width},))
for index in range({layers}):
    layer = keras.layers.Dense({width}, name=f"d{{index}}")(layer)
model = keras.Model(inputs, layer)
optimizer = keras.optimizers.legacy.Adam(0.001)
optimizer._create_all_weights(model.trainable_variables)
"""
_MAKE = (
    _MODEL
    + """
optimizer.iterations.assign(7)
for variable in optimizer.variables()[1:]:
    variable.assign(tf.random.uniform(variable.shape))
tf.train.Checkpoint(model=model, optimizer=optimizer).write("donor")
tf.train.Checkpoint(model=model).write("target")
model.compile(optimizer, "mse")
model.save("donor.h5")
model.save("target.h5", include_optimizer=False)
"""
)
_MAKE_ARCHIVES = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
layer = inputs = keras.Input(({width},))
for index in range({layers}):
    layer = keras.layers.Dense({width}, name=f"d{{index}}")(layer)
model = keras.Model(inputs, layer)
model.save("target.keras")
optimizer = keras.optimizers.Adam(0.001)
model.compile(optimizer, "mse")
optimizer.build(model.trainable_variables)
optimizer.iterations.assign(7)
for variable in optimizer.variables[2:]:
    variable.assign(keras.random.uniform(variable.shape))
model.save("donor.keras")
"""
_SCRIPT = (
    _MODEL
    + """
tf.train.Checkpoint(model=model, optimizer=optimizer).read("donor").expect_partial()
tf.train.Checkpoint(model=model).read("target").expect_partial()
tf.train.Checkpoint(model=model, optimizer=optimizer).write("by_script")
"""
)
_MAKE_TORCH = """
import torch
net = torch.nn.Sequential(*[torch.nn.Linear({width}, {width}) for _ in range({layers})])
optimizer = torch.optim.AdamW(net.parameters())
torch.save({{"model": net.state_dict(), "step": 0}}, "target.pt")
for each in net.parameters():
    each.grad = torch.randn_like(each)
optimizer.step()
torch.save({{"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": 1}}, "donor.pt")
"""
_TORCH_SCRIPT = """
import torch
donor, target = (torch.load(each, weights_only=True) for each in ("donor.pt", "target.pt"))
target["optimizer"] = donor["optimizer"]
torch.save(target, "by_torch.pt")
"""
_WIDTH = 4096


class Run(NamedTuple):
    """One process: seconds from start to end, and its peak memory in MB."""

    seconds: float
    megabytes: float


def run(words: list[str], folder: Path) -> Run:
    """Runs a command in a child of its own, so that its peak memory is its own."""
    code = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        "sys.exit(done.returncode)\n"
    )
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{words[:4]} failed:\n{done.stderr[-2000:]}")
    return Run(seconds, int(done.stdout.split()[-1]) / 1024)


class Way(NamedTuple):
    """One way to get a file with both the weights and the optimizer's state.

    Attributes:
        name: As the table shows it.
        words: The command.
        outputs: A pattern for what it writes, which is removed before each run.
        peers: Names of the ways that it is held against, each with the ratio that is aimed at; None: to compare with.
    """

    name: str
    words: list[str]
    outputs: str
    peers: tuple[tuple[str, float | None], ...] = ()


def ways(layers: int) -> list[Way]:
    """The rows of the table."""
    python = sys.executable

    def graft(donor: str, target: str, output: str, *more: str) -> list[str]:
        words = [python, "-m", "ckptdoctor", "graft", "--quiet", *more]
        return [*words, "--from", donor, "--into", target, "--output", output]

    def synced(donor: str, output: str) -> list[str]:
        return ["sh", "-c", f"cp {donor} {output} && sync {output}"]

    adam = ("--optimizer-class", "Adam")  # which the checkpoints do not say
    script = "TensorFlow script"
    torch, torch_synced = "torch script", "cp && sync, torch"
    h5, h5_synced, keras, keras_synced = "cp, HDF5", "cp && sync, HDF5", "cp, .keras", "cp && sync, .keras"
    return [
        Way(script, [python, "-c", _SCRIPT.format(width=_WIDTH, layers=layers)], "by_script*"),
        Way("graft", graft("donor", "target", "grafted", *adam), "grafted*", ((script, 1 / 6),)),
        Way("graft --link", graft("donor", "target", "linked", "--link", *adam), "linked*", ((script, None),)),
        Way(h5, ["cp", "donor.h5", "copied.h5"], "copied.h5"),
        Way(h5_synced, synced("donor.h5", "synced.h5"), "synced.h5"),
        Way("graft, HDF5", graft("donor.h5", "target.h5", "out.h5", *adam), "out.h5", ((h5, None), (h5_synced, 1.3))),
        Way(keras, ["cp", "donor.keras", "copied.keras"], "copied.keras"),
        Way(keras_synced, synced("donor.keras", "synced.keras"), "synced.keras"),
        Way(
            "graft, .keras",
            graft("donor.keras", "target.keras", "out.keras", *adam),
            "out.keras",
            ((keras, None), (keras_synced, 1.3)),
        ),
        Way(torch, [python, "-c", _TORCH_SCRIPT], "by_torch.pt"),
        Way(torch_synced, synced("donor.pt", "synced.pt"), "synced.pt"),
        Way(
            "graft, torch",
            graft("donor.pt", "target.pt", "out.pt"),
            "out.pt",
            ((torch, 1 / 5), (torch_synced, 1.3)),
        ),
    ]


def clear(folder: Path, way: Way) -> None:
    """Removes what a way wrote."""
    for old in folder.glob(way.outputs):
        old.unlink()


def measure(folder: Path, chosen: list[Way], repeat: int) -> dict[str, list[Run]]:
    """Several runs of each way, in turn; what they write is removed at once."""
    runs: dict[str, list[Run]] = {way.name: [] for way in chosen}
    for _ in range(repeat):
        for way in chosen:
            clear(folder, way)
            runs[way.name].append(run(way.words, folder))
            clear(folder, way)
    return runs


def make(folder: Path, layers: int) -> None:
    """Makes the inputs that are not there yet."""
    for code, last in ((_MAKE, "target.h5"), (_MAKE_ARCHIVES, "donor.keras"), (_MAKE_TORCH, "donor.pt")):
        if not (folder / last).exists():
            run([sys.executable, "-c", code.format(width=_WIDTH, layers=layers)], folder)


def main() -> None:
    """Prints a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each way (default: 3)")
    parser.add_argument("--folder", type=Path, help="make the inputs here and keep them")
    parser.add_argument("--only", default="", help="ways whose name contains this, and their peers")
    parser.add_argument("--json", help="write the figures here too")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    options = parser.parse_args()
    layers = max(1, round(options.gigabytes * 1e9 / (_WIDTH * _WIDTH * 4 * 3)))
    all_ways = ways(layers)
    wanted = {way.name for way in all_ways if options.only in way.name}
    wanted |= {peer for way in all_ways if way.name in wanted for peer, _ in way.peers}
    chosen = [way for way in all_ways if way.name in wanted]
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        make(folder, layers)
        runs = measure(folder, chosen, options.repeat)
        size = (folder / "donor.data-00000-of-00001").stat().st_size
    found = {name: min(each) for name, each in runs.items()}
    sys.stdout.write(f"{layers} layers, {size / 1e9:.2f} GB\n")
    missed = False
    for way in chosen:
        each = found[way.name]
        line = f"{way.name:20} {each.seconds:7.2f} s  {each.megabytes:7.0f} MB"
        for peer, aim in way.peers:
            ratio = each.seconds / found[peer].seconds
            text = f"1/{1 / ratio:.1f}" if ratio < 1 else f"{ratio:.2f}"
            line += f"  {text} of {peer}"
            if aim is not None:
                line += " (reached)" if ratio <= aim else f" (aim: {aim:.2f})"
                missed |= ratio > aim
        sys.stdout.write(line + "\n")
    if options.json:
        figures = [
            {"way": way.name, "seconds": [each.seconds for each in runs[way.name]],
             "megabytes": [each.megabytes for each in runs[way.name]], "peers": way.peers}
            for way in chosen
        ]  # fmt: skip
        Path(options.json).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if options.check and missed:
        raise SystemExit(1)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).resolve().parent.parent.parent))
    if shutil.which("cp") is None:
        sys.exit("needs cp")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
