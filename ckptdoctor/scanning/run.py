"""A scan from prefixes to parts and their summary."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ckptdoctor import __version__
from ckptdoctor.checking.policy import Policy
from ckptdoctor.errors import EXIT_FINDINGS, EXIT_OK, EXIT_UNREADABLE, UsageProblem
from ckptdoctor.kinds import Status
from ckptdoctor.scanning.engines import engine as engine_of
from ckptdoctor.scanning.listing import Batch, Shard, batches
from ckptdoctor.scanning.parts import Parts
from ckptdoctor.scanning.rows import Row, failed
from ckptdoctor.scanning.summary import Summary, summarise

Path = str | os.PathLike[str]
BATCH = 500


class Scan(NamedTuple):
    """What a scan did.

    Attributes:
        output: The directory of its parts.
        form: `parquet` or `jsonl`.
        judged: Artifacts that were judged now; the others were there.
        batches: Batches of all.
        resumed: Batches whose parts were there.
        summary: What all rows come to.
    """

    output: str
    form: str
    judged: int
    batches: int
    resumed: int
    summary: Summary

    @property
    def exit_code(self) -> int:
        """As `check` has it: 3 where something cannot be read, 1 where something does not pass."""
        if self.summary.statuses[Status.UNREADABLE.value]:
            return EXIT_UNREADABLE
        return EXIT_FINDINGS if self.summary.passed < self.summary.artifacts else EXIT_OK


def scan(
    prefixes: Sequence[Path],
    output: Path,
    policy: Policy,
    *,
    engine: str = "processes",
    address: str | None = None,
    jobs: int | None = None,
    batch: int = BATCH,
    shard: Shard = Shard(),  # noqa: B008 - a constant
    resume: bool = False,
    told: Callable[[Row], None] | None = None,
) -> Scan:
    """Judges every artifact below some prefixes; what cannot be read is a row too.

    Args:
        prefixes: Files, directories, URLs.
        output: The directory of the parts, one a batch: Parquet, or JSON lines where pyarrow is not installed.
        policy: What artifacts are judged by.
        engine: `processes` of this machine, `dask` or `ray`.
        address: Of a cluster that runs already.
        jobs: So many workers; None: as many as there are processors, and more where artifacts are at URLs.
        batch: Artifacts in a part, about.
        shard: Which part of all directories is judged here.
        resume: Parts that are there are kept; those of batches in which something was written anew are made again.
        told: Is told each row.

    Raises:
        UsageProblem: Nothing is at a prefix, there are parts and `resume` is not said, or an engine is not there.
        UnreadableArtifact: A prefix cannot be listed.
    """
    given = [os.fspath(each) for each in prefixes]
    if not given:
        raise UsageProblem("name a prefix to scan")
    parts = Parts(os.fspath(output), shard, resume=resume)
    seen: set[str] = set()
    done: list[str] = []

    def todo(every: Iterable[Batch]) -> Iterator[Batch]:
        for each in every:
            seen.add(each.name)
            if parts.has(each.name):
                done.append(each.name)
            else:
                yield each

    judged = 0
    listed = batches(given, batch, shard, f"{__version__} {policy!r}")
    for each, rows in engine_of(engine)(todo(listed), policy, jobs=jobs, address=address):
        known = {row.path for row in rows}
        rows += [failed(path, why) for path, why in each.unlisted if path not in known]
        parts.write(each.name, rows)
        judged += len(rows)
        for row in rows if told is not None else ():
            told(row)  # type: ignore[misc]  # it is no None here
    parts.keep_only(seen)
    return Scan(parts.directory, parts.ending[1:], judged, len(seen), len(done), summarise(parts.rows()))
