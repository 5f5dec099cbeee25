"""What `history` tells, as pure frozen data."""

from typing import NamedTuple

from ckptdoctor.logged import Metric
from ckptdoctor.state import Format, Status


class Objection(NamedTuple):
    """Why training should not resume from a checkpoint.

    Attributes:
        code: The rule that says so; "" where its status does.
        message: What is wrong with it.
    """

    code: str
    message: str


class Seen(NamedTuple):
    """What was read of a checkpoint.

    Attributes:
        format: What it is.
        status: Whether its optimizers have what they need.
        verdict: The same in words; where it cannot be read, why.
        weights: Whether the model's weights are in it.
        iterations: The optimizer's count, else the global step; None where it holds neither.
        epoch: The epoch, where the checkpoint tells it.
        metric: How good the model was, where the checkpoint tells it.
        learning_rate: The rate at which training went on.
        finite: Whether every value is a number; None where values were not read.
        errors: What the rules object to; None where they were not asked.
        best: What the program called its best checkpoint.
        best_by: Where it did.
    """

    format: Format
    status: Status
    verdict: str
    weights: bool = True
    iterations: int | None = None
    epoch: float | None = None
    metric: Metric | None = None
    learning_rate: float | None = None
    finite: bool | None = None
    errors: tuple[Objection, ...] | None = None
    best: str | None = None
    best_by: str = ""

    @property
    def is_complete(self) -> bool:
        """Whether training can go on from it: weights, all that the optimizers need, and no error that is known."""
        return self.status is Status.COMPLETE and self.weights and not self.errors


class Checkpoint(NamedTuple):
    """One line: a checkpoint of a run.

    Attributes:
        path: What `inspect` takes for it.
        name: Its name in the run.
        seen: What was read of it.
        iterations: Its count, else the number of steps in its name.
        epoch: Its epoch, as it or its name tells.
        metric: Its metric, as it, its name or the run's event files tell.
        learning_rate: Its rate, as it or the event files tell.
        size: Bytes of its files.
        saved: When the last of them was written, in seconds since 1970.
    """

    path: str
    name: str
    seen: Seen
    iterations: int | None
    epoch: float | None
    metric: Metric | None
    learning_rate: float | None
    size: int
    saved: float


class PassedOver(NamedTuple):
    """A checkpoint newer than the one to resume from, and why it is not that one."""

    name: str
    objection: Objection


class Run(NamedTuple):
    """The checkpoints of one directory.

    Attributes:
        path: The directory.
        checkpoints: All of them, in the order of training.
        resume: The one to resume from; None if there is none.
        reason: Why that one, or why none.
        passed_over: Those that are newer, the newest first.
        notes: What else is to be known: whom the framework itself would take, saves that did not end.
    """

    path: str
    checkpoints: tuple[Checkpoint, ...]
    resume: Checkpoint | None
    reason: str
    passed_over: tuple[PassedOver, ...] = ()
    notes: tuple[str, ...] = ()


class History(NamedTuple):
    """The runs below a directory.

    Attributes:
        path: The directory, as it was given.
        runs: Each that holds checkpoints.
        deep: Every value was read.
    """

    path: str
    runs: tuple[Run, ...]
    deep: bool = False

    def __bool__(self) -> bool:
        """Whether training can be resumed from any of them."""
        return any(each.resume is not None for each in self.runs)

    @property
    def is_unreadable(self) -> bool:
        """Whether nothing of it can be read."""
        return all(each.seen.status is Status.UNREADABLE for run in self.runs for each in run.checkpoints)
