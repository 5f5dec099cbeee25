"""How fast `ckptdoctor graft` is, beside the TensorFlow script that people write and beside `cp`, in the same run.

    python tests/benchmarks/graft_speed.py [--gigabytes 2] [--repeat 2]

Needs TensorFlow and tf_keras, which also make the input: a checkpoint of a model with its Adam state, of about the size
asked for, and its weights-only twin. Peak memory is the child's own. Ratios are of the fastest runs.
"""

from __future__ import annotations

import argparse
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
_SCRIPT = (
    _MODEL
    + """
tf.train.Checkpoint(model=model, optimizer=optimizer).read("donor").expect_partial()
tf.train.Checkpoint(model=model).read("target").expect_partial()
tf.train.Checkpoint(model=model, optimizer=optimizer).write("by_script")
"""
)
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


def best(words: list[str], folder: Path, outputs: str, repeat: int) -> Run:
    """The fastest of several runs; what they write is removed between them."""
    runs: list[Run] = []
    for _ in range(repeat):
        for old in folder.glob(outputs):
            old.unlink()
        runs.append(run(words, folder))
    return min(runs)


def main() -> None:
    """Prints a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--repeat", type=int, default=2)
    args = parser.parse_args()
    layers = max(1, round(args.gigabytes * 1e9 / (_WIDTH * _WIDTH * 4 * 3)))
    python, names = sys.executable, {"width": _WIDTH, "layers": layers}
    command = [python, "-m", "ckptdoctor", "graft", "--quiet"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run([python, "-c", _MAKE.format(**names)], folder)
        rows = [
            ("TensorFlow script", best([python, "-c", _SCRIPT.format(**names)], folder, "by_script*", args.repeat)),
            ("graft", _graft(command, folder, "donor", "target", "grafted", args.repeat)),
            ("graft --link", _graft([*command, "--link"], folder, "donor", "target", "linked", args.repeat)),
            ("cp of the same bytes (HDF5)", best(["cp", "donor.h5", "copied.h5"], folder, "copied.h5", args.repeat)),
            ("graft into HDF5", _graft(command, folder, "donor.h5", "target.h5", "grafted.h5", args.repeat)),
        ]
        sys.stdout.write(f"{layers} layers, {(folder / 'donor.data-00000-of-00001').stat().st_size / 1e9:.2f} GB\n")
    script, copy = rows[0][1], rows[3][1]
    for label, each in rows:
        peer = copy if "HDF5" in label else script
        sys.stdout.write(
            f"{label:30} {each.seconds:7.2f} s  {each.megabytes:7.0f} MB"
            f"  {each.seconds / peer.seconds:6.3f} of {'cp' if peer is copy else 'the script'}\n"
        )


def _graft(command: list[str], folder: Path, donor: str, target: str, output: str, repeat: int) -> Run:
    return best([*command, "--from", donor, "--into", target, "--output", output], folder, f"{output}*", repeat)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", str(Path(__file__).resolve().parent.parent.parent))
    if shutil.which("cp") is None:
        sys.exit("needs cp")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
