"""Mutants of every artifact in the museum, each through a command of ckptdoctor.

    python tests/fuzz/mutants.py [--each 20] [--step 1] [--first 0] [--format FORMAT]… [--only CASE] [--jobs 1]

The invariant: a result, or an exit code that says that it cannot be read and a sentence; no traceback, no hang, no more
memory than a limit, no file left open. Mutants run in children that live long; one that dies is a defect, also where
libhdf5 reads, for that has a worker process of its own. What breaks the invariant is printed with what repeats it.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
if __name__ == "__main__":
    sys.path[:0] = [os.fspath(ROOT), os.fspath(ROOT / "tests")]

from fuzz.judge import Verdict  # noqa: E402 - after the path
from fuzz.mutations import Recipe, recipes  # noqa: E402

SECONDS = 150.0
"""A mutant that takes longer hangs. The machine may be busy, and where libhdf5 is caught in a loop its worker is ended
after a while only."""
MEGABYTES = 400
"""Python, numpy and h5py take 100."""


@dataclass
class Tally:
    """What became of many mutants.

    Attributes:
        codes: Format → exit code → how many.
        wrong: What breaks the invariant, each with its recipe.
        slowest: The longest time, and of what.
        peak: Megabytes that a child had at most.
    """

    codes: dict[str, Counter[int]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    peak: int = 0

    @property
    def mutants(self) -> int:
        """How many were tried."""
        return sum(sum(each.values()) for each in self.codes.values())

    def add(self, recipe: Recipe, verdict: Verdict) -> None:
        """Counts a verdict."""
        told = f"{recipe.case} seed {recipe.seed}: {verdict.command}, {verdict.damage}"
        self.codes.setdefault(recipe.format, Counter())[verdict.code] += 1
        self.slowest = max(self.slowest, (verdict.seconds, told))
        self.peak = max(self.peak, verdict.megabytes)
        if verdict.wrong:
            self.wrong.append(f"{told}\n{verdict.wrong}")
        elif verdict.megabytes > MEGABYTES:
            self.wrong.append(f"{told}: it took {verdict.megabytes} MB")

    def bury(self, recipe: Recipe, how: str) -> None:
        """Counts a mutant that ended its child."""
        self.codes.setdefault(recipe.format, Counter())[-2] += 1
        self.wrong.append(f"{recipe.case} seed {recipe.seed}: {how}")

    def merge(self, other: Tally) -> None:
        """Adds another tally."""
        for form, counts in other.codes.items():
            self.codes.setdefault(form, Counter()).update(counts)
        self.wrong += other.wrong
        self.slowest = max(self.slowest, other.slowest)
        self.peak = max(self.peak, other.peak)

    def lines(self) -> Iterator[str]:
        """A report."""
        for form, counts in self.codes.items():
            dead = f", {counts[-2]} ended their process" if counts[-2] else ""
            read, refused = counts[0], sum(n for code, n in counts.items() if code > 0)
            yield f"{form}: {counts.total():,} mutants, {read:,} read, {refused:,} refused{dead}"
        yield f"slowest: {self.slowest[0]:.2f} s ({self.slowest[1]}); most memory: {self.peak} MB"
        yield from (f"WRONG {each}" for each in self.wrong)


def _kill(process: subprocess.Popen[str], late: threading.Event) -> None:
    late.set()
    process.kill()


class Child:
    """A process that judges mutants; a new one takes its place when it dies or is too slow."""

    def __init__(self, museum: Path, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._command = [sys.executable, os.fspath(ROOT / "tests" / "fuzz" / "judge.py"), str(museum), str(scratch)]
        self._process: subprocess.Popen[str] | None = None

    def judge(self, recipe: Recipe) -> Verdict | str:
        """A verdict, or how the child ended."""
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()
        timer = threading.Timer(SECONDS, _kill, (process, late))
        timer.start()
        try:
            process.stdin.write(json.dumps(recipe) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            timer.cancel()
        if line:
            verdict = Verdict(*json.loads(line))
            if verdict.wrong or verdict.megabytes > MEGABYTES:  # both stay: the next mutant gets a fresh process
                self.close()
            return verdict
        code = process.wait()
        self.close()
        if late.is_set():
            return f"it hangs: no answer within {SECONDS:.0f} s"
        return signal.Signals(-code).name if code < 0 else f"the process ended with {code}"

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        return self._process

    def close(self) -> None:
        """Ends the child."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None


def run(museum: Path, chosen: Iterable[Recipe], *, jobs: int = 1, progress: bool = False) -> Tally:
    """Judges mutants in so many children."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    work = iter(chosen)
    lock = threading.Lock()
    total = Tally()
    with tempfile.TemporaryDirectory(dir=memory) as scratch:

        def judge_many(number: int) -> None:
            child = Child(museum, Path(scratch) / str(number))
            tally = Tally()
            try:
                while True:
                    with lock:
                        recipe = next(work, None)
                    if recipe is None:
                        break
                    answer = child.judge(recipe)
                    if isinstance(answer, str):
                        tally.bury(recipe, answer)
                    else:
                        tally.add(recipe, answer)
                    if progress and tally.mutants % 2000 == 0:
                        sys.stderr.write(f"{tally.mutants:,} mutants, {len(tally.wrong)} wrong\n")
            finally:
                child.close()
                with lock:
                    total.merge(tally)

        threads = [threading.Thread(target=judge_many, args=(number,)) for number in range(jobs)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return total


def main() -> int:
    """The command."""
    from support.museum import unpack

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=20, help="mutants of an artifact (default: 20)")
    parser.add_argument("--step", type=int, default=1, help="every so many artifacts of a format (default: all)")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--format", dest="formats", action="append", default=[], help="of this format only")
    parser.add_argument("--only", default="", help="of artifacts with this in their path only")
    parser.add_argument("--jobs", type=int, default=1, help="children at a time (default: 1)")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        museum = unpack(Path(folder))
        chosen = recipes(
            museum, each=options.each, step=options.step, formats=tuple(options.formats), first=options.first
        )
        tally = run(museum, (each for each in chosen if options.only in each.case), jobs=options.jobs, progress=True)
    for line in tally.lines():
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"{tally.mutants:,} mutants in {time.monotonic() - started:.0f} s\n")
    return int(bool(tally.wrong))


if __name__ == "__main__":
    sys.exit(main())
