"""Progress over many paths: a bar on stderr with the current one; only on a terminal, and only after a second."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from ckptdoctor.report.shared.escape import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from ckptdoctor.scanning.rows import Row

_PATIENCE = 1.0
_WIDTH = 40


class PathProgress:
    """How far a command has got through its paths."""

    def __init__(self, bar: Progress | None = None, task: TaskID | None = None) -> None:
        self._bar = bar
        self._task = task
        self._shown = False
        self._started = monotonic()
        self._done = -1

    def following(self, paths: Iterable[str]) -> Iterator[str]:
        """The paths, each shown when its turn comes."""
        for path in paths:
            self._done += 1
            self._update(path, float(self._done))
            yield path

    def tell(self, done: int, total: int) -> None:
        """How many bytes of how many of the current artifact have been read."""
        self._update(None, self._done + done / total if total else float(self._done))

    def show(self, path: str) -> None:
        """Names the artifact that is being read, one of many in a directory."""
        self._update(path, float(self._done))

    def count(self, path: str, number: int) -> None:
        """Names the artifact that is being read, and says how many are done."""
        self._update(path, float(number))

    def _update(self, path: str | None, completed: float) -> None:
        if self._bar is None or self._task is None:
            return
        if path is not None:
            self._bar.update(self._task, description=printable(path)[-_WIDTH:])
        self._bar.update(self._task, completed=completed)
        if not self._shown and monotonic() - self._started > _PATIENCE:
            self._bar.start()
            self._shown = True

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Takes the bar away while a result is written to the same terminal."""
        if self._bar is None or not self._shown:
            yield
            return
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()


@contextmanager
def path_progress(paths: Iterable[str], *, wanted: bool) -> Iterator[PathProgress]:
    """Progress over paths; silent where no bar is wanted or stderr is no terminal."""
    if not wanted or not sys.stderr.isatty():
        yield PathProgress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=len(list(paths)))
    try:
        yield PathProgress(bar, task)
    finally:
        bar.stop()


@contextmanager
def counted_progress(*, wanted: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """Progress over artifacts whose number is only known when the first is read.

    Yields:
        What is told the name of each, its number and how many there are; None where no bar is shown.
    """
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    progress = PathProgress(bar, task := bar.add_task("", total=None))

    def tell(name: str, number: int, total: int) -> None:
        bar.update(task, total=total)
        progress.count(name, number)

    try:
        yield tell
    finally:
        bar.stop()


@contextmanager
def rate_progress(*, wanted: bool) -> Iterator[Callable[[Row], None] | None]:
    """Progress over artifacts of which nobody knows how many there are: their rate, and what was found so far.

    Yields:
        What is told each row; None where no bar is shown.
    """
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("listing", total=None)
        started, done, failed, unread = monotonic(), 0, 0, 0

        def tell(row: Row) -> None:
            nonlocal done, failed, unread
            done, failed, unread = done + 1, failed + (not row.passed), unread + (row.error is not None)
            rate = done / max(monotonic() - started, 1e-3)
            told = f"{done:,} artifacts, {rate:,.0f} a second, {failed:,} failed, {unread:,} of them unreadable"
            bar.update(task, description=told)

        yield tell
