"""Ray: a cluster of this machine, or the one at an address; training clusters have one already."""

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

_RETRIES = 1


class _Ray:
    def __init__(self, ray: Any, policy: Policy) -> None:
        self._ray = ray
        self._policy = policy
        self._unit = ray.remote(num_cpus=1, max_retries=_RETRIES)(judge_all)

    @property
    def workers(self) -> int:
        return int(self._ray.cluster_resources().get("CPU", 0))

    def submit(self, paths: Sequence[str]) -> Any:
        return self._unit.remote(tuple(paths), self._policy, source())

    def finished(self, pending: list[Any], seconds: float) -> Any:
        return next(iter(self._ray.wait(pending, num_returns=1, timeout=seconds)[0]), None)

    def result(self, done: Any, seconds: float) -> list[Row] | None:
        try:
            rows: list[Row] = self._ray.get(done, timeout=seconds)
        except self._ray.exceptions.GetTimeoutError:
            return None
        return rows


def run(todo: Iterable[Batch], policy: Policy, *, jobs: int | None, address: str | None) -> Iterator[Judged]:
    """Judges batches in the order in which they are done.

    Raises:
        UsageProblem: Ray is not installed, or the cluster does not answer.
    """
    try:
        import ray
    except ImportError:
        raise UsageProblem("--engine ray needs Ray: pip install ray") from None
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    here: dict[str, Any] = {"num_cpus": jobs, "include_dashboard": False}
    mine = not ray.is_initialized()
    try:
        if mine:
            ray.init(address=address, **options) if address else ray.init(**here, **options)
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageProblem(f"the Ray cluster does not answer: {str(error).splitlines()[0]}") from None
    lost = (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError)
    try:
        yield from carry_out(_Ray(ray, policy), todo, lambda error: isinstance(error, lost))
    finally:
        if mine:
            ray.shutdown()
