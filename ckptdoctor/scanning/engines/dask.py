"""Dask: a cluster of this machine, or the one at an address (Kubernetes, Slurm, Coiled: the same `Client`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ckptdoctor.checking.policy import Policy
from ckptdoctor.declarations.chosen import source
from ckptdoctor.errors import UsageProblem
from ckptdoctor.scanning.engines import Judged
from ckptdoctor.scanning.engines.clusters import carry_out, judge_all
from ckptdoctor.scanning.listing import Batch
from ckptdoctor.scanning.rows import Row

_FAILURES = 2
"""Workers that may be lost over a batch: after that it is taken apart, so that others in it do not suffer."""
_DEAD = frozenset({"closed", "failed"})
"""Ends of what starts a worker and looks after it."""


class _Dask:
    def __init__(self, library: Any, client: Any, policy: Policy) -> None:
        self._library = library
        self._client = client
        self._policy = policy

    @property
    def workers(self) -> int:
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def submit(self, paths: Sequence[str]) -> Any:
        return self._client.submit(judge_all, tuple(paths), self._policy, source(), pure=False)

    def finished(self, pending: list[Any], seconds: float) -> Any:
        try:
            return next(iter(self._library.wait(pending, timeout=seconds, return_when="FIRST_COMPLETED").done))
        except self._library.TimeoutError:
            self._replace_lost()
            return None

    def _replace_lost(self) -> None:
        """Starts workers for those that a cluster of ours gave up, as they took long to start again."""
        ours = self._client.cluster  # None where there is an address
        if ours is None:
            return
        for name, worker in list(ours.workers.items()):
            if worker.status.name in _DEAD:  # which Dask takes for one that works
                ours.workers.pop(name, None)
        if len(ours.workers) < len(ours.worker_spec):
            ours.scale(len(ours.worker_spec))

    def result(self, done: Any, seconds: float) -> list[Row] | None:
        try:
            rows: list[Row] = done.result(timeout=seconds)
        except self._library.TimeoutError:
            self._replace_lost()
            return None
        return rows


def run(todo: Iterable[Batch], policy: Policy, *, jobs: int | None, address: str | None) -> Iterator[Judged]:
    """Judges batches in the order in which they are done.

    Raises:
        UsageProblem: Dask is not installed, or the cluster does not answer.
    """
    try:
        import dask
        import distributed
    except ImportError:
        raise UsageProblem("--engine dask needs Dask: pip install 'dask[distributed]'") from None
    library: Any = distributed
    here: dict[str, Any] = {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None}
    with dask.config.set({"distributed.scheduler.allowed-failures": _FAILURES}):
        try:
            client = library.Client(address) if address else library.Client(**here)
        except (OSError, ValueError, TimeoutError) as error:
            raise UsageProblem(f"the Dask cluster does not answer: {error}") from None
        with client:
            yield from carry_out(
                _Dask(library, client, policy), todo, lambda error: isinstance(error, library.KilledWorker)
            )
