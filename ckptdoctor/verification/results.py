"""What `verify` answers with: per call, per optimizer and per slot, what the framework holds against the artifact."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from ckptdoctor.state import Format, Role


class Outcome(str, Enum):
    """What became of one value."""

    RESTORED = "restored"
    DROPPED = "dropped"
    """The framework holds none, or a fresh one."""
    CHANGED = "changed"
    """The framework holds something else."""
    ABSENT = "absent"
    """The artifact holds none, so there was nothing to restore."""


class Restored(NamedTuple):
    """A number of the optimizer.

    Attributes:
        expected: What the artifact holds.
        found: What the framework holds.
        outcome: The comparison.
    """

    expected: float | None
    found: float | None
    outcome: Outcome


class SlotResult(NamedTuple):
    """A slot variable.

    Attributes:
        name: The artifact's name for its kind.
        role: The same in one vocabulary.
        variable: Its model variable in the artifact; a number where the artifact names none.
        outcome: The comparison.
        max_difference: The largest absolute difference, where it was changed and the shapes agree.
        detail: What else is known: whose value it holds instead, for example.
    """

    name: str
    role: Role
    variable: str
    outcome: Outcome
    max_difference: float | None = None
    detail: str = ""


class SchedulerResult(NamedTuple):
    """A learning-rate scheduler with state of its own.

    Attributes:
        name: Its name in the artifact.
        class_name: The class that the framework made.
        last_epoch: Its count.
    """

    name: str
    class_name: str | None
    last_epoch: Restored


@dataclass(frozen=True, slots=True)
class OptimizerResult:
    """One optimizer after one call.

    Attributes:
        name: Its name in the artifact.
        class_name: The class that the framework made.
        iterations: Its count.
        learning_rate: Its rate at the next step.
        slots: Each slot that the artifact holds.
        counts: Each parameter's own count, of optimizers that keep one.
        schedulers: The schedulers that set its rate.
    """

    name: str
    class_name: str | None
    iterations: Restored
    learning_rate: Restored
    slots: tuple[SlotResult, ...]
    counts: tuple[SlotResult, ...] = ()
    schedulers: tuple[SchedulerResult, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all that the artifact holds was restored."""
        good = {Outcome.RESTORED, Outcome.ABSENT}
        return (
            self.iterations.outcome in good
            and self.learning_rate.outcome in good
            and all(each.outcome in good for each in (*self.slots, *self.counts))
            and all(each.last_epoch.outcome in good for each in self.schedulers)
        )

    def count(self, outcome: Outcome) -> int:
        """How many slots came out so."""
        return sum(each.outcome is outcome for each in self.slots)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call and what the framework held after it.

    Attributes:
        key: Its key in the table of losses (diagnosis/loaders.json).
        call: The code, as users write it.
        optimizers: Each optimizer of the artifact; empty if the call failed.
        error: What it raised, in one line.
        warnings: What the framework said meanwhile, as far as it may concern the optimizer.
    """

    key: str
    call: str
    optimizers: tuple[OptimizerResult, ...] = ()
    error: str | None = None
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether all that the artifact holds was restored."""
        return self.error is None and bool(self.optimizers) and all(each.ok for each in self.optimizers)


@dataclass(frozen=True, slots=True)
class Verification:
    """The proof for one artifact.

    Attributes:
        path: As it was given.
        format: What it is.
        framework: Which framework loaded it, as users write it (`keras`, `tf.keras`, `torch`); None if none was asked.
        version: The framework's version.
        attempts: The calls that were tried, the one that users would use first.
        advice: What to do, a sentence each.
        notes: What else an engineer should know, a sentence each.
    """

    path: str
    format: Format
    framework: str | None = None
    version: str | None = None
    attempts: tuple[Attempt, ...] = ()
    advice: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def nothing_to_restore(self) -> bool:
        """Whether the artifact holds no optimizer state, so that no framework was asked."""
        return not self.attempts

    @property
    def usual(self) -> Attempt | None:
        """The call that users would use: the verdict is about it."""
        return self.attempts[0] if self.attempts else None

    @property
    def ok(self) -> bool:
        """Whether the usual call restores all that the artifact holds."""
        return self.usual is None or self.usual.ok

    @property
    def restoring(self) -> Attempt | None:
        """The first call that restores all that the artifact holds."""
        return next((each for each in self.attempts if each.ok), None)

    @property
    def restorable(self) -> bool:
        """Whether any call restores all that the artifact holds."""
        return self.nothing_to_restore or self.restoring is not None

    @property
    def call(self) -> str | None:
        """The usual call, as code."""
        return self.usual.call if self.usual else None

    @property
    def error(self) -> str | None:
        """What the usual call raised."""
        return self.usual.error if self.usual else None

    @property
    def optimizers(self) -> tuple[OptimizerResult, ...]:
        """Each optimizer after the usual call."""
        return self.usual.optimizers if self.usual else ()

    @property
    def iterations(self) -> Restored:
        """The first optimizer's count after the usual call."""
        return self.optimizers[0].iterations if self.optimizers else Restored(None, None, Outcome.ABSENT)

    @property
    def learning_rate(self) -> Restored:
        """The first optimizer's rate after the usual call."""
        return self.optimizers[0].learning_rate if self.optimizers else Restored(None, None, Outcome.ABSENT)

    @property
    def slots(self) -> tuple[SlotResult, ...]:
        """Every optimizer's slots after the usual call."""
        return tuple(slot for each in self.optimizers for slot in each.slots)
