"""The interpreter that forks for the tests of this folder behaves as one that is started."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.frameworks import SETTINGS, run, warm_python

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
    pytest.mark.skipif(sys.platform != "linux", reason="elsewhere each run is an interpreter of its own"),
]


def both(*words: str, given: str = "", cwd: Path | None = None, **variables: str) -> list[tuple[int, str, str]]:
    """Code, output and the last line of errors of a run by the warm interpreter, and by a fresh one."""
    found = []
    for python in (warm_python(), sys.executable):
        done = subprocess.run(
            [python, *words], input=given, capture_output=True, text=True, check=False, cwd=cwd,
            env={**os.environ, **SETTINGS, **variables},
        )  # fmt: skip
        found.append((done.returncode, done.stdout, (done.stderr.splitlines() or [""])[-1]))
    return found


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        ("print('done')", 0),
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit('a sentence')", 1),
        ("1 / 0", 1),
        ("import os; os.abort()", -6),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -9),
        ("import atexit; atexit.register(print, 'at the end')", 0),
    ],
)
def test_endings(code: str, ending: int) -> None:
    """Codes, signals and what is said."""
    warm, fresh = both("-c", code)
    assert warm == fresh
    assert warm[0] == ending


def test_surroundings(tmp_path: Path) -> None:
    """Arguments, input, folder, environment, and what lies beside a script."""
    code = "import json, os, sys; print(json.dumps([{}, sys.argv, sys.stdin.read(), os.getcwd(), os.environ['OWN'],"
    code += " sys.path[:2], __name__, sys.modules['__main__'].__dict__ is globals()]))"
    (tmp_path / "beside.py").write_text("here = 'beside'")
    script = tmp_path / "script.py"
    script.write_text(f"from beside import here\n{code.format('here, __file__')}")
    for words in (("-c", code.format("None"), "-x", "b c"), (str(script), "a")):
        warm, fresh = both(*words, given="some\ninput", cwd=tmp_path, OWN="set here")
        assert warm == fresh
        assert warm[0] == 0


def test_another_backend() -> None:
    """What Keras reads while it is imported is heard: a fresh interpreter runs then."""
    code = "import sys; print('tensorflow' in sys.modules)"
    assert [out for _, out, _ in both("-c", code)] == ["True\n", "False\n"]
    assert [out for _, out, _ in both("-c", code, KERAS_BACKEND="jax")] == ["False\n", "False\n"]


def test_random_numbers_are_each_runs_own() -> None:
    """Runs share no state of a generator: what one draws, another does not."""
    code = (
        "import random, numpy, tensorflow; print(random.random(), numpy.random.rand(), tensorflow.random.uniform(()))"
    )
    first, second = (run("-c", code)[0].split()[:2] for _ in range(2))
    assert not set(first) & set(second)


def test_who_gives_up_ends_the_run(tmp_path: Path) -> None:
    """A run whose caller was killed, as after a timeout, does not go on."""
    code = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    told = tmp_path / "pid"
    caller = subprocess.Popen([warm_python(), "-c", code, str(told)], env={**os.environ, **SETTINGS})
    while not (told.exists() and told.read_text()):
        assert caller.poll() is None
        time.sleep(0.01)
    caller.kill()
    caller.wait()
    assert run("-c", "print('served')") == ["served"]
    pid = int(told.read_text())
    deadline = time.monotonic() + 5  # the server has to see it first
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_script_that_fails_is_told() -> None:
    """What went wrong in a run is in the failure."""
    with pytest.raises(AssertionError, match=r"it ended with 1: (.|\n)*ZeroDivisionError"):
        run("-c", "1 / 0")
