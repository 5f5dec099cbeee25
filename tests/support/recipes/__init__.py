"""What the tests of recipes share: a recipe whose gaps are filled, run by a real framework in a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from support.commands import Result, environment
from support.frameworks import warm_python

from ckptdoctor.recipes.run import recipe, render

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
PROGRAMS = Path(__file__).parent / "programs"


def filled(path: Path, gaps: Mapping[str, str]) -> str:
    """The script for an artifact, each of its gaps filled with an expression of a program's own.

    Raises:
        AssertionError: The script has other gaps.
    """
    text = render(recipe(str(path)))
    compile(text, "recipe", "exec")
    left = dict(
        re.findall(r"^    raise NotImplementedError\('(\w+)(: put your own here)'\)$", text, flags=re.MULTILINE)
    )
    assert left.keys() == gaps.keys()
    for name, expression in gaps.items():
        text = text.replace(f"raise NotImplementedError('{name}: put your own here')", f"return {expression}")
    return text


def run(text: str, folder: Path, *arguments: str, backend: str = "tensorflow") -> Result:
    """Runs a script by the framework that is Keras' backend then; the programs may be imported."""
    script = folder / "recipe.py"
    script.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [warm_python(backend), str(script), *arguments],
        capture_output=True, text=True, check=False, timeout=300, cwd=folder,
        env=environment(**QUIET, PYTHONPATH=str(PROGRAMS), KERAS_BACKEND=backend),
    )  # fmt: skip
    return Result(done.returncode, done.stdout, done.stderr)


_DRIVER = """
import json, runpy, sys, traceback
found = {}
for path in json.loads(sys.stdin.read()):
    sys.argv = [path]
    try:
        runpy.run_path(path, run_name="__main__")
        found[path] = ""
    except BaseException:
        found[path] = traceback.format_exc()
print(json.dumps(found))
"""


def run_each(texts: Mapping[str, str], folder: Path, *, backend: str = "tensorflow") -> dict[str, str]:
    """Runs several scripts one after the other in one process, which imports the framework once.

    Returns:
        Name of each → its traceback; "" where it ended well.
    """
    paths = {str(folder / f"recipe-{number}.py"): name for number, name in enumerate(texts)}
    for path, name in paths.items():
        Path(path).write_text(texts[name], encoding="utf-8")
    done = subprocess.run(
        [warm_python(backend), "-c", _DRIVER], input=json.dumps(list(paths)),
        capture_output=True, text=True, check=True, timeout=300, cwd=folder,
        env=environment(**QUIET, PYTHONPATH=str(PROGRAMS), KERAS_BACKEND=backend),
    )  # fmt: skip
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return {paths[path]: error for path, error in found.items()}


def make(program: str, folder: Path, *arguments: str, backend: str = "tensorflow") -> None:
    """Has a program train and save what it saves."""
    subprocess.run(
        [warm_python(backend), str(PROGRAMS / f"{program}.py"), str(folder), *arguments],
        capture_output=True, text=True, check=True, timeout=300, cwd=folder,
        env=environment(**QUIET, KERAS_BACKEND=backend),
    )  # fmt: skip
