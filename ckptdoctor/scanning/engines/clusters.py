"""What the engines of clusters have in common: batches in flight, and the one that is lost taken apart."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from ckptdoctor.checking.policy import Policy
from ckptdoctor.declarations.chosen import Source, use
from ckptdoctor.errors import UsageProblem
from ckptdoctor.scanning.engines import Judged
from ckptdoctor.scanning.listing import Batch
from ckptdoctor.scanning.rows import Row, failed, row_of

_AHEAD = 3
"""Batches a worker that wait to be taken."""
_LOOK = 5.0
"""Seconds of waiting after which is looked whether there is a worker at all."""
_PATIENCE = 600.0
"""Seconds that a cluster may have none: those that grow as they are needed take minutes for their first."""


class Cluster(Protocol):
    """A cluster, as far as it is needed."""

    @property
    def workers(self) -> int:
        """How many there are."""

    def submit(self, paths: Sequence[str]) -> Any:
        """Has the candidates judged; answers what is waited for."""

    def finished(self, pending: list[Any], seconds: float) -> Any:
        """One of those that are done, as soon as one is; None if that takes longer than `seconds`."""

    def result(self, done: Any, seconds: float) -> list[Row] | None:
        """Its rows; None if they do not come within `seconds`: they were lost with their worker, and are made again.

        Raises whatever where the worker was lost over it, again and again.
        """


def judge_all(paths: Sequence[str], policy: Policy, declared: Source) -> list[Row]:
    """What a worker of a cluster does."""
    use(declared)
    return [row for path in paths if (row := row_of(path, policy)) is not None]


def carry_out(cluster: Cluster, todo: Iterable[Batch], lost: Callable[[BaseException], bool]) -> Iterator[Judged]:
    """Judges batches, several in flight; at the end those that were lost, with nothing else in flight.

    A worker that dies takes along what waits at it: only of what is alone it is known that a worker died of it.

    Args:
        cluster: Where.
        todo: The batches, taken as workers become free.
        lost: Whether an error says that a worker was lost; others are defects, and raised.

    Raises:
        UsageProblem: There is no worker, and none comes.
    """
    pending: dict[Any, Batch] = {}
    again: list[Batch] = []

    def judged() -> Iterator[Judged]:
        done = _finished(cluster, list(pending))
        batch = pending.pop(done)
        rows = _rows(cluster, done, lost)
        if rows is None:
            again.append(batch)
        else:
            yield batch, rows

    for batch in todo:
        pending[cluster.submit(batch.paths)] = batch
        if len(pending) >= _AHEAD * max(1, cluster.workers):
            yield from judged()
    while pending:
        yield from judged()
    for batch in again:
        yield batch, _taken_apart(cluster, batch.paths, lost)


def _finished(cluster: Cluster, pending: list[Any]) -> Any:
    """One that is done. What waits for a worker where there is none would wait for ever."""
    seen = time.monotonic()
    while (done := cluster.finished(pending, _LOOK)) is None:
        if cluster.workers:
            seen = time.monotonic()
        elif time.monotonic() - seen > _PATIENCE:
            raise UsageProblem(
                f"the cluster has had no worker for {_PATIENCE / 60:.0f} minutes: start some, and go on with --resume"
            )
    return done


def _rows(cluster: Cluster, done: Any, lost: Callable[[BaseException], bool]) -> list[Row] | None:
    """The rows of what is done; None if it was lost."""
    try:
        while (rows := cluster.result(done, _LOOK)) is None:
            _finished(cluster, [done])
    except Exception as error:
        if not lost(error):
            raise
        return None
    return rows


def _taken_apart(cluster: Cluster, paths: Sequence[str], lost: Callable[[BaseException], bool]) -> list[Row]:
    rows = _rows(cluster, _finished(cluster, [cluster.submit(paths)]), lost)
    if rows is not None:
        return rows
    if len(paths) == 1:
        return [failed(paths[0], "every worker that read it died of it, or was taken away")]
    half = len(paths) // 2
    return [row for each in (paths[:half], paths[half:]) for row in _taken_apart(cluster, each, lost)]
