"""The frameworks in processes of their own: today's beside the tests, and old ones in environments of theirs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
CHILDREN = ROOT / "tests" / "real" / "children"
MAKE = ROOT / "fixtures" / "make" / "make.py"
SETTINGS = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "adam": ("Adam", {"learning_rate": 0.02, "beta_1": 0.8}),
    "amsgrad": ("Adam", {"learning_rate": 0.02, "amsgrad": True}),
    "momentum": ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    "nesterov": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}),
    "rmsprop_all": ("RMSprop", {"learning_rate": 0.01, "momentum": 0.5, "centered": True}),
    "adagrad": ("Adagrad", {"learning_rate": 0.1}),
    "adadelta": ("Adadelta", {"learning_rate": 1.0}),
    "adamax": ("Adamax", {"learning_rate": 0.02}),
    "ftrl": ("Ftrl", {"learning_rate": 0.1}),
}
"""Name → optimizer class and options: those that every generation since OptimizerV2 has."""
NOT_THEIRS = ("PYTHONPATH", "PYTHONHOME", "TF_USE_LEGACY_KERAS")
"""What is meant for the interpreter of the tests only."""


def child(script: str, *arguments: object, given: object = None, python: str = sys.executable) -> Any:
    """Runs a script of tests/real/children, `given` as JSON on its input; answers the JSON of its last line, if any."""
    hidden = () if python == sys.executable else NOT_THEIRS
    environment = {key: value for key, value in os.environ.items() if key not in hidden}
    done = subprocess.run(
        [python, str(CHILDREN / script), *map(str, arguments)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        env={**environment, **SETTINGS},
    )
    assert done.returncode == 0, done.stderr[-4000:]
    lines = done.stdout.splitlines()
    return json.loads(lines[-1]) if lines else {}


def made_environment(folder: Path, name: str) -> str:
    """Makes an environment of fixtures/make/versions.py, unless it is there; answers its interpreter."""
    command = [sys.executable, str(MAKE), "--envs", str(folder), "build", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return str(folder / name / "bin" / "python")
