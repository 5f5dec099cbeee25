"""One mutant under one command, in this process: what the command said, and whether that is allowed.

Run as a script it is a child that lives long: a line of JSON in for each mutant, a line of JSON out.
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent.parent
if __name__ == "__main__":
    sys.path[:0] = [os.fspath(ROOT), os.fspath(ROOT / "tests")]

from fuzz.mutations import Recipe, copied, damage  # noqa: E402 - after the path

COMMANDS = ("inspect", "check", "graft from", "inspect", "check", "graft into")
"""A mutant's seed chooses among them."""
_ALLOWED = {"inspect": {0, 3}, "check": {0, 1, 3}, "graft": {0, 3, 4}}
_FORMATS = {
    "inspect": ("json", "text", "markdown"),
    "check": ("json", "text", "markdown", "github", "sarif", "junit"),
}
_CODE = re.compile(r"\b[IX]\d{3}\b")
"""Rules by which something cannot be read: it is broken, or would have to be run."""


def _peak() -> int:
    """Megabytes at most so far, of this program: what the kernel counts for wait4 has those of its parent in it."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) // 1024


class Verdict(NamedTuple):
    """What became of a mutant.

    Attributes:
        command: What was run.
        damage: What was done to which file.
        code: The command's exit code.
        wrong: What is not allowed about it; "" if nothing is.
        seconds: How long it took.
        megabytes: The greatest memory of this process so far.
    """

    command: str
    damage: str
    code: int
    wrong: str
    seconds: float
    megabytes: int


class Judge:
    """Keeps a copy of the artifact whose mutants it is given, damages it and mends it again."""

    def __init__(self, museum: Path, scratch: Path) -> None:
        self._museum = museum
        self._scratch = scratch
        self._case = ""
        self._artifact = Path()

    def judge(self, recipe: Recipe) -> Verdict:
        """Runs the command that the recipe's seed chooses on its mutant."""
        if recipe.case != self._case:
            shutil.rmtree(self._scratch / "mutant", ignore_errors=True)
            shutil.rmtree(self._scratch / "clean", ignore_errors=True)
            self._artifact = copied(self._museum, recipe.case, self._scratch / "mutant")
            copied(self._museum, recipe.case, self._scratch / "clean")
            self._case = recipe.case
        command = COMMANDS[recipe.seed % len(COMMANDS)]
        with self._damaged(recipe) as what:
            started = time.perf_counter()
            code, wrong = self._run(command, recipe)
            seconds = time.perf_counter() - started
        peak = _peak()
        return Verdict(command, what, code, wrong, seconds, peak)

    @contextmanager
    def _damaged(self, recipe: Recipe) -> Iterator[str]:
        folder = self._scratch / "mutant"
        made = damage(recipe, folder)
        file = folder / made.file
        whole = file.read_bytes()
        file.write_bytes(made.data)
        try:
            yield f"{made.file}: {made.what}"
        finally:
            file.write_bytes(whole)

    def _run(self, command: str, recipe: Recipe) -> tuple[int, str]:
        mutant = os.fspath(self._artifact)
        if command in _FORMATS:
            form = _FORMATS[command][recipe.seed // len(COMMANDS) % len(_FORMATS[command])]
            options = ["--stats", "--tensors"] if command == "inspect" else ["--deep", "--no-config"]
            return self._invoke([command, *options, "--format", form, mutant])
        clean = os.fspath(self._scratch / "clean" / self._artifact.name)
        donor, target = (mutant, clean) if command == "graft from" else (clean, mutant)
        output = self._scratch / "out"
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        written = output / self._artifact.name
        code, wrong = self._invoke(["graft", "--from", donor, "--into", target, "--output", os.fspath(written)])
        left = sorted(os.listdir(output))
        if not wrong and code and left:
            wrong = f"a graft that failed left {left}"
        if not wrong and not code:
            again, wrong = self._invoke(["inspect", os.fspath(written)])
            wrong = f"what it wrote cannot be read: {wrong}" if again or wrong else ""
        return code, wrong

    def _invoke(self, arguments: list[str]) -> tuple[int, str]:
        """The exit code of a command, and what is wrong about how it ended."""
        from click.testing import CliRunner

        from ckptdoctor.cli import cli

        result = CliRunner().invoke(cli, arguments, prog_name="ckptdoctor")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            return -1, "".join(traceback.format_exception(result.exception)[-4:])
        if result.exit_code not in _ALLOWED[arguments[0]]:
            return result.exit_code, f"exit code {result.exit_code}: {result.stderr[-500:]}"
        # A check says in its report why something cannot be read: the finding's code is in it.
        told = _CODE.search(result.stdout) if arguments[0] == "check" else result.stderr.startswith("ckptdoctor: ")
        if result.exit_code > 1 and not told:
            return result.exit_code, "it failed without saying why"
        odd = {char for char in result.output if not char.isprintable() and char != "\n"}
        if odd:
            return result.exit_code, f"control characters are printed: {odd!r}"
        if {"json", "sarif"} & set(arguments):
            json.loads(result.stdout)
        elif "junit" in arguments:
            ET.fromstring(result.stdout)
        return result.exit_code, self._left_open()

    def _left_open(self) -> str:
        ours = os.fspath(self._scratch) + os.sep
        found = set()
        for number in os.listdir("/proc/self/fd"):
            try:
                name = os.readlink(f"/proc/self/fd/{number}")
            except OSError:
                continue
            if name.startswith(ours):
                found.add(name)
        return f"it leaves open: {sorted(found)}" if found else ""


def main() -> None:
    """The child: museum and scratch folder as arguments, recipes on stdin, verdicts on stdout."""
    judge = Judge(Path(sys.argv[1]), Path(sys.argv[2]))
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in sys.stdin:
        verdict = judge.judge(Recipe(*json.loads(line)))
        print(json.dumps(verdict), file=out, flush=True)


if __name__ == "__main__":
    main()
