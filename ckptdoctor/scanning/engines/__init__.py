"""What carries a scan out: processes of this machine, or a cluster of Dask or Ray.

An engine takes batches and answers with their rows, in any order of batches. A file that kills what reads it costs its
own row: its batch is taken apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Protocol, TypeAlias

from ckptdoctor.checking.policy import Policy
from ckptdoctor.scanning.listing import Batch
from ckptdoctor.scanning.rows import Row

Judged: TypeAlias = tuple[Batch, list[Row]]


class Engine(Protocol):
    """Judges batches."""

    def __call__(
        self, todo: Iterable[Batch], policy: Policy, *, jobs: int | None, address: str | None
    ) -> Iterator[Judged]:
        """Judges batches.

        Args:
            todo: The batches, taken as workers become free.
            policy: What artifacts are judged by.
            jobs: So many workers; None: what the engine finds.
            address: Of a cluster that runs already.
        """


def engine(name: str) -> Engine:
    """An engine by its name, which is that of its module: `processes`, `dask`, `ray`."""
    found: Engine = import_module(f"ckptdoctor.scanning.engines.{name}").run
    return found
