"""Coverage-guided fuzzing of one reader, by atheris (libFuzzer).

    python tests/fuzz/guided.py TARGET… [--seconds 60] [--seed 1] [--corpus FOLDER]

Seeds come from the museum, which is unpacked for each run. What is found that no other input reaches stays in the
corpus folder, if one is given. An input that breaks the invariant ends the run; it is kept in the current folder, and
README.md says what becomes of it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS_AN_INPUT = 20
MEGABYTES = 700
"""Of the whole process: Python, the readers, numpy, and the corpus."""
LONGEST_INPUT = 1 << 16


class Outcome(NamedTuple):
    """How a run went.

    Attributes:
        code: libFuzzer's: 0 where nothing was found.
        executions: Inputs that were tried.
        before: Edges covered by the seeds.
        after: Edges covered in the end.
        output: What libFuzzer and Python said.
    """

    code: int
    executions: int
    before: int
    after: int
    output: str


def fuzz(
    targets: Sequence[str],
    seconds: int,
    *,
    runs: int = -1,
    seed: int = 0,
    corpus: Path | None = None,
    crashes: Path | None = None,
    museum: Path | None = None,
) -> dict[str, Outcome]:
    """Fuzzes targets, one after the other, in processes of their own, since libFuzzer ends the one that it runs in.

    Args:
        targets: Their names.
        seconds: How long each, at most.
        runs: How many inputs each, at most; -1: any number.
        seed: Of libFuzzer's random numbers; 0: another each time.
        corpus: Where interesting inputs are found and kept, in a folder for each target.
        crashes: Where an input that breaks the invariant is left; None: the current folder.
        museum: Where the museum is unpacked already.
    """
    with tempfile.TemporaryDirectory(dir=_memory()) as scratch:
        folder = Path(scratch)
        command = [sys.executable, os.fspath(Path(__file__)), *targets, "--here", scratch]
        command += ["--seconds", str(seconds), "--runs", str(runs), "--seed", str(seed)]
        command += ["--corpus", os.fspath((corpus or folder / "corpus").resolve())]
        command += ["--crashes", os.fspath((crashes or Path()).resolve())]
        command += ["--museum", os.fspath(museum)] if museum else []
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=len(targets) * (3 * seconds + 60) + 240,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((os.fspath(ROOT), os.fspath(ROOT / "tests")))},
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr[-3000:])
        return {target: _outcome(folder / target) for target in targets}


def _outcome(folder: Path) -> Outcome:
    """What libFuzzer's output says of a run."""
    said = (folder / "output").read_text(encoding="utf-8", errors="backslashreplace")
    events = r"^#\d+\s+(?:INITED|NEW|REDUCE|pulse|DONE).* cov: (\d+)"
    covered = [int(each) for each in re.findall(events, said, re.MULTILINE)]
    counts = [int(each) for each in re.findall(r"^#(\d+)\s", said, re.MULTILINE)]
    code = int((folder / "code").read_text())
    return Outcome(code, max(counts, default=0), covered[0] if covered else 0, max(covered, default=0), said)


def _memory() -> str | None:
    """A folder in memory, where there is one: each input is a file."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _fuzz_here(options: argparse.Namespace) -> None:
    """The child's part: instruments the package once, and gives a copy of itself to libFuzzer for each target."""
    import atheris

    sys.modules.pop("zipfile", None)  # part of what archives are read by
    with atheris.instrument_imports(include=["ckptdoctor", "zipfile"]):
        import ckptdoctor

        for module in pkgutil.walk_packages(ckptdoctor.__path__, "ckptdoctor."):
            # Readers import each other when they are needed, which would be after this.
            if not module.name.startswith(("ckptdoctor.guard.", "ckptdoctor.verification", "ckptdoctor.__main__")):
                importlib.import_module(module.name)
    from fuzz.targets import TARGETS
    from support.museum import unpack

    from ckptdoctor.isolation import limits

    limits._is_worker = True  # HDF5 files are sound here: they are read in this process, where coverage is seen

    museum = options.museum or unpack(options.here / "museum")
    for target in options.targets:
        folder = options.here / target
        for name in ("seeds", "work"):
            (folder / name).mkdir(parents=True)
        (options.corpus / target).mkdir(parents=True, exist_ok=True)
        for data in TARGETS[target].seeds(museum):
            (folder / "seeds" / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        child = os.fork()
        if not child:
            output = os.open(folder / "output", os.O_WRONLY | os.O_CREAT)
            os.dup2(output, 1)
            os.dup2(output, 2)
            atheris.Setup([sys.argv[0], *_arguments(target, folder, options)], TARGETS[target].prepare(folder / "work"))
            atheris.Fuzz()
        (folder / "code").write_text(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))


def _arguments(target: str, folder: Path, options: argparse.Namespace) -> list[str]:
    """LibFuzzer's."""
    return [
        f"-max_total_time={options.seconds}", f"-runs={options.runs}", f"-seed={options.seed}",
        f"-timeout={SECONDS_AN_INPUT}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST_INPUT}",
        f"-artifact_prefix={options.crashes}/{target}-",
        os.fspath(options.corpus / target), os.fspath(folder / "seeds"),
    ]  # fmt: skip


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", metavar="TARGET", nargs="+", help="see README.md; `all` for each of them")
    parser.add_argument("--seconds", type=int, default=60, help="how long to look (default: 60)")
    parser.add_argument("--runs", type=int, default=-1, help="how many inputs, at most (default: any number)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers; 0: another each time")
    parser.add_argument("--corpus", type=Path, help="keep interesting inputs here, and begin with those that are there")
    parser.add_argument("--crashes", type=Path, default=Path(), help="where an input that breaks the invariant is left")
    parser.add_argument("--museum", type=Path, help="where the museum is unpacked already")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        _fuzz_here(options)
        return 0
    from fuzz.targets import TARGETS  # not before: the child instruments what this imports

    chosen = tuple(TARGETS) if options.targets == ["all"] else tuple(options.targets)
    unknown = [target for target in chosen if target not in TARGETS]
    if unknown:
        parser.error(f"no such target: {unknown[0]}; there are {', '.join(TARGETS)}")
    outcomes = fuzz(
        chosen,
        options.seconds,
        runs=options.runs,
        seed=options.seed,
        corpus=options.corpus,
        crashes=options.crashes,
        museum=options.museum,
    )
    for target, outcome in outcomes.items():
        if outcome.code:
            sys.stdout.write(outcome.output[-6000:])
        sys.stdout.write(
            f"{target}: {outcome.executions:,} inputs in {options.seconds} s, coverage {outcome.before:,} to "
            f"{outcome.after:,}, {'an input breaks it' if outcome.code else 'nothing found'}\n"
        )
    return int(any(outcome.code for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.path[:0] = [os.fspath(ROOT), os.fspath(ROOT / "tests")]
    sys.exit(main())
