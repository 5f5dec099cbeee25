"""Worker processes of this machine: each takes one artifact after the other, and the next one where it died."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import chain

from ckptdoctor import storage
from ckptdoctor.checking.policy import Policy
from ckptdoctor.isolation.pool import Lost, can_work, cores, in_order
from ckptdoctor.scanning.engines import Judged
from ckptdoctor.scanning.listing import Batch
from ckptdoctor.scanning.rows import Row, failed, row_of

_WAITING = 8
"""Workers where artifacts are at URLs: most of them wait."""


def run(todo: Iterable[Batch], policy: Policy, *, jobs: int | None, address: str | None) -> Iterator[Judged]:  # noqa: ARG001
    """Judges batches in their order."""
    if not can_work():
        for batch in todo:
            yield batch, [row for path in batch.paths if (row := row_of(path, policy)) is not None]
        return
    waiting: deque[Batch] = deque()

    def calls() -> Iterator[tuple[str, Policy]]:
        for batch in todo:
            waiting.append(batch)
            yield from ((path, policy) for path in batch.paths)

    begun = calls()
    first = next(begun, None)
    if first is None:
        return
    is_remote = storage.is_remote(first[0])
    workers = jobs or (max(_WAITING, cores()) if is_remote else cores())

    rows: list[Row | None] = []
    with ExitStack() as stack:
        threads = stack.enter_context(ThreadPoolExecutor(max_workers=workers)) if is_remote else None
        answers = stack.enter_context(closing(in_order(row_of, chain((first,), begun), jobs=workers, fetchers=threads)))
        for answer in answers:
            path = waiting[0].paths[len(rows)]
            rows.append(failed(path, "the process that read it died of it") if isinstance(answer, Lost) else answer)
            if len(rows) == len(waiting[0].paths):
                yield waiting.popleft(), [row for row in rows if row is not None]
                rows = []
