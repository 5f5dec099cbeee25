"""Coverage-guided fuzzing of one reader, by atheris (libFuzzer).

    python tests/fuzz/guided.py TARGET [--seconds 60] [--seed 1] [--corpus FOLDER]

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
import shutil
import subprocess
import sys
import tempfile
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
    target: str,
    seconds: int,
    *,
    seed: int = 0,
    corpus: Path | None = None,
    crashes: Path | None = None,
    museum: Path | None = None,
) -> Outcome:
    """Fuzzes a target in a process of its own, since libFuzzer ends the one that it runs in.

    Args:
        target: Its name.
        seconds: How long.
        seed: Of libFuzzer's random numbers; 0: another each time.
        corpus: Where interesting inputs are found and kept.
        crashes: Where an input that breaks the invariant is left; None: the current folder.
        museum: Where the museum is unpacked already.
    """
    with tempfile.TemporaryDirectory(dir=_memory()) as scratch:
        folder = Path(scratch)
        kept = corpus or folder / "corpus"
        kept.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, os.fspath(Path(__file__)), target, "--here", scratch]
        command += ["--seconds", str(seconds), "--seed", str(seed), "--corpus", os.fspath(kept.resolve())]
        command += ["--crashes", os.fspath((crashes or Path()).resolve())]
        command += ["--museum", os.fspath(museum)] if museum else []
        with open(folder / "output", "w+", encoding="utf-8", errors="backslashreplace") as output:
            done = subprocess.run(
                command, stdout=output, stderr=output, check=False, timeout=3 * seconds + 300,
                env={**os.environ, "PYTHONPATH": os.pathsep.join((os.fspath(ROOT), os.fspath(ROOT / "tests")))},
            )  # fmt: skip
            output.seek(0)
            said = output.read()
    covered = [
        int(each) for each in re.findall(r"^#\d+\s+(?:INITED|NEW|REDUCE|pulse|DONE).* cov: (\d+)", said, re.MULTILINE)
    ]
    counts = [int(each) for each in re.findall(r"^#(\d+)\s", said, re.MULTILINE)]
    return Outcome(done.returncode, max(counts, default=0), covered[0] if covered else 0, max(covered, default=0), said)


def _memory() -> str | None:
    """A folder in memory, where there is one: each input is a file."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _fuzz_here(target: str, folder: Path, options: argparse.Namespace) -> None:
    """The child's part: instruments the package, lays down the seeds, and gives itself to libFuzzer."""
    import atheris

    sys.modules.pop("zipfile", None)  # part of what archives are read by
    with atheris.instrument_imports(include=["ckptdoctor", "zipfile"]):
        import ckptdoctor

        for module in pkgutil.walk_packages(ckptdoctor.__path__, "ckptdoctor."):
            # Readers import each other when they are needed, which would be after this.
            if not module.name.startswith(("ckptdoctor.verification", "ckptdoctor.__main__")):
                importlib.import_module(module.name)
    from fuzz.targets import TARGETS
    from support.museum import unpack

    chosen = TARGETS[target]
    seeds = folder / "seeds"
    seeds.mkdir()
    for data in chosen.seeds(options.museum or unpack(folder / "museum")):
        (seeds / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    shutil.rmtree(folder / "museum", ignore_errors=True)
    work = folder / "work"
    work.mkdir()
    arguments = [
        f"-max_total_time={options.seconds}", f"-seed={options.seed}", f"-timeout={SECONDS_AN_INPUT}",
        f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST_INPUT}", f"-artifact_prefix={options.crashes}/{target}-",
        "-print_final_stats=1", os.fspath(options.corpus), os.fspath(seeds),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *arguments], chosen.prepare(work))
    atheris.Fuzz()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", help="see README.md")
    parser.add_argument("--seconds", type=int, default=60, help="how long to look (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers; 0: another each time")
    parser.add_argument("--corpus", type=Path, help="keep interesting inputs here, and begin with those that are there")
    parser.add_argument("--crashes", type=Path, default=Path(), help="where an input that breaks the invariant is left")
    parser.add_argument("--museum", type=Path, help="where the museum is unpacked already")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        _fuzz_here(options.target, options.here, options)
    from fuzz.targets import TARGETS  # not before: the child instruments what this imports

    if options.target not in TARGETS:
        parser.error(f"no such target: {options.target}; there are {', '.join(TARGETS)}")
    outcome = fuzz(
        options.target,
        options.seconds,
        seed=options.seed,
        corpus=options.corpus,
        crashes=options.crashes,
        museum=options.museum,
    )
    if outcome.code:
        sys.stdout.write(outcome.output[-6000:])
    sys.stdout.write(
        f"{options.target}: {outcome.executions:,} inputs in {options.seconds} s, coverage {outcome.before:,} to "
        f"{outcome.after:,}, {'an input breaks it' if outcome.code else 'nothing found'}\n"
    )
    return int(outcome.code != 0)


if __name__ == "__main__":
    sys.path[:0] = [os.fspath(ROOT), os.fspath(ROOT / "tests")]
    sys.exit(main())
