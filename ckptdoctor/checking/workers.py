"""Several artifacts at once, each read and judged in a worker; the answers come in their order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial

from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.run import MANY, Looked, Step, look
from ckptdoctor.examination import Progress
from ckptdoctor.formats.contract import Target
from ckptdoctor.isolation.pool import Lost, can_work, cores, in_order

_TOGETHER = 8
"""Artifacts that a worker is sent at once, where there are many times as many: handing over takes time, too."""


@contextmanager
def in_workers(
    steps: Sequence[Step], policy: Policy, jobs: int | None, progress: Progress | None = None
) -> Iterator[Callable[[Target, Policy], Looked]]:
    """Has workers as long as their answers are wanted.

    Args:
        steps: What the paths come to.
        policy: What they are judged by.
        jobs: So many workers; None for as many as there are processors, where that many artifacts are worth it. Where
            none can work, or one died of an artifact, that is read here.
        progress: Is told of what is read here.

    Yields:
        What answers with each artifact of all steps, asked for in their order.
    """
    calls = [
        (target, policy.for_path(step.path if step.kind == "latest" else target.path))
        for step in steps
        for target in step.targets
    ]
    if jobs is None:
        jobs = cores() if len(calls) >= MANY else 1
    here = partial(look, progress=progress)
    if min(jobs, len(calls)) < 2 or not can_work():  # noqa: PLR2004 - one is no sooner done by another
        yield here
        return
    answers = _answers(calls, jobs)

    def read(target: Target, own: Policy) -> Looked:
        for asked, answer in answers:
            if asked is target:  # others were left out, as the path before had an error
                return here(target, own) if isinstance(answer, Lost) else answer
        return here(target, own)

    with closing(answers):
        yield read


def _look_at_all(calls: Sequence[tuple[Target, Policy]]) -> tuple[Looked, ...]:
    return tuple(look(target, own) for target, own in calls)


def _answers(calls: Sequence[tuple[Target, Policy]], jobs: int) -> Generator[tuple[Target, Looked | Lost], None, None]:
    """What the workers say, as far as they come: an answer that is too large to be handed over ends them."""
    size = min(_TOGETHER, max(1, len(calls) // (jobs * _TOGETHER)))
    parts = [calls[start : start + size] for start in range(0, len(calls), size)]
    told = in_order(_look_at_all, ((each,) for each in parts), jobs=jobs)
    try:
        for part, answer in zip(parts, told, strict=True):
            for number, (target, _) in enumerate(part):
                yield target, answer if isinstance(answer, Lost) else answer[number]
    except (MemoryError, RecursionError, OSError):
        return
    finally:
        told.close()
