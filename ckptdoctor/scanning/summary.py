"""What a scan comes to: the figures that its rows are first asked for."""

from collections import Counter
from collections.abc import Iterable
from heapq import heappush, heappushpop
from typing import NamedTuple

from ckptdoctor.kinds import Status
from ckptdoctor.scanning.rows import Row

_SLOWEST = 10
_MOST_RUNS = 100_000
"""Runs whose newest is remembered; of more the table itself has to be asked."""


class Newest(NamedTuple):
    """The newest complete checkpoint of a run."""

    run: str
    path: str
    iterations: int | None
    modified: float

    @property
    def order(self) -> tuple[int, float]:
        """By its count, then by its time."""
        return (-1 if self.iterations is None else self.iterations), self.modified


class Summary(NamedTuple):
    """What all rows come to.

    Attributes:
        artifacts: So many.
        passed: Of those that the policy lets pass.
        statuses: Status → how many.
        formats: Format → how many.
        findings: Code → in how many.
        unreadable: Reason → how many.
        cannot_resume: By what wrote them → how many are incomplete, or cannot be read.
        loses_count: By what wrote them → how many have slots, and not the count that these need.
        loses_slots: By what wrote them → how many lack slots.
        runs: How many directories hold artifacts.
        newest: The newest complete one of each run.
        bytes: Of all files.
        strippable: Of optimizer state.
        requests: Requests that reading took.
        read_bytes: Bytes that came.
        seconds: Of all workers together.
        slowest: The slowest, the slowest first.
    """

    artifacts: int
    passed: int
    statuses: Counter[str]
    formats: Counter[str]
    findings: Counter[str]
    unreadable: Counter[str]
    cannot_resume: Counter[str]
    loses_count: Counter[str]
    loses_slots: Counter[str]
    runs: int
    newest: tuple[Newest, ...]
    bytes: int
    strippable: int
    requests: int
    read_bytes: int
    seconds: float
    slowest: tuple[Row, ...]


def summarise(rows: Iterable[Row]) -> Summary:
    """Goes through all rows once."""
    statuses, formats, findings, unreadable = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    cannot, no_count, no_slots = Counter[str](), Counter[str](), Counter[str]()
    newest: dict[str, Newest] = {}
    runs: set[str] = set()
    slowest: list[tuple[float, str, Row]] = []
    artifacts = passed = size = strippable = requests = read_bytes = 0
    seconds = 0.0
    for row in rows:
        artifacts, passed = artifacts + 1, passed + row.passed
        size, strippable = size + row.bytes, strippable + row.optimizer_bytes
        requests, read_bytes, seconds = requests + row.read_requests, read_bytes + row.read_bytes, seconds + row.seconds
        statuses[row.status] += 1
        formats[row.format] += 1
        findings.update(row.findings)
        if row.error is not None:
            unreadable[_kind(row)] += 1
        by = " ".join(each for each in (row.framework, row.framework_version) if each) or row.format
        if row.status in {Status.UNREADABLE.value, Status.PARTIAL.value}:
            cannot[by] += 1
        no_count[by] += _lost_count(row)
        no_slots[by] += bool(row.missing)
        if len(runs) < _MOST_RUNS:
            runs.add(row.run)
            _remember(newest, row)
        entry = (row.seconds, row.path, row)
        heappush(slowest, entry) if len(slowest) < _SLOWEST else heappushpop(slowest, entry)
    return Summary(
        artifacts, passed, statuses, formats, findings, unreadable, +cannot, +no_count, +no_slots, len(runs),
        tuple(newest.values()), size, strippable, requests, read_bytes, seconds,
        tuple(row for _, _, row in sorted(slowest, key=lambda each: each[:2], reverse=True)),
    )  # fmt: skip


def _remember(newest: dict[str, Newest], row: Row) -> None:
    if row.status != Status.COMPLETE.value:
        return
    own = Newest(row.run, row.path, row.iterations, row.modified)
    if row.run not in newest or newest[row.run].order < own.order:
        newest[row.run] = own


def _lost_count(row: Row) -> bool:
    """S002 is said, too, where no count is needed: of what is complete. S005: it started over beside old slots."""
    return "S005" in row.findings or ("S002" in row.findings and row.status == Status.PARTIAL.value)


def _kind(row: Row) -> str:
    """Why it cannot be read, without what is different in each: the code of the rule, then the format."""
    return f"{row.findings[0] if row.findings else 'I001'} {row.format}"
