"""What the user asks of a graft."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple, TypedDict

from ckptdoctor.crossing.wishes import Wishes
from ckptdoctor.errors import UsageProblem
from ckptdoctor.state import Generation

PARTS = ("iterations", "slots", "hyperparameters")


class GraftOptions(TypedDict, total=False):
    """The options of `ckptdoctor.graft` and `ckptdoctor.plan_graft`, all of them optional.

    Attributes:
        only: Parts that are taken from the donor; all of them by default.
        optimizer: Which optimizer, where an artifact has several: its name, or a part of it; `DONOR=TARGET` where the
            two call it differently, or where the target is to call it so. Several of these: one after the other.
        mapping: Donor variable → target variable; whole paths, or prefixes that end in `/`.
        partial: Leave variables without a match in a fresh state instead of refusing.
        generation: The generation to write where the target has no optimizer, or to convert to.
        optimizer_class: The class, for a dump whose target names none.
        iterations: Set the count by hand.
        learning_rate: Set the constant learning rate by hand.
        hyperparameters: Set these by hand, where nothing tells them or others are wanted: `{"momentum": 0.9}`.
        link: Share unchanged data files by hard link instead of copying them.
        groups: Of PyTorch, whose parameter groups the result has where they differ; the target's by default.
        keys: Of PyTorch, what `model` and `optimizer` are called where a bare state_dict becomes a dictionary.
    """

    only: str | Collection[str]
    optimizer: str | Sequence[str] | None
    mapping: Mapping[str, str]
    partial: bool
    generation: Generation | Literal["tf1", "keras1", "optimizer-v2", "keras2", "keras3", "torch", "optax"] | None
    optimizer_class: str | None
    iterations: int | None
    learning_rate: float | None
    hyperparameters: Mapping[str, object]
    link: bool
    groups: Literal["keep", "target"] | None
    keys: Mapping[str, str]


def make_options(given: GraftOptions) -> "Options":
    """Options from keywords.

    Raises:
        UsageProblem: One is not known, or its value is not of its kind.
    """
    unknown = sorted(set(given) - (set(Options._fields) - {"more"}))
    if unknown:
        raise UsageProblem(f"unknown option {unknown[0]!r}; there are {', '.join(Options._fields[:-1])}")
    values: dict[str, object] = dict(given)
    try:
        if "generation" in values and values["generation"] is not None:
            values["generation"] = Generation(values["generation"])
        if "only" in values:
            parts = values["only"]
            values["only"] = frozenset([parts] if isinstance(parts, str) else parts)  # type: ignore[call-overload]
    except (TypeError, ValueError) as error:
        raise UsageProblem(f"an option has a value that it cannot have: {error}") from error
    named = given.get("optimizer")
    if named is not None and not isinstance(named, str):
        values["optimizer"], values["more"] = next(iter(named), None), tuple(named)[1:]
        targets = [each.rpartition("=")[2] for each in named]
        if len(set(targets)) < len(targets):
            raise UsageProblem(f"two of {', '.join(named)} are for one optimizer of the target")
    by_hand = dict(given.get("hyperparameters") or {})
    if "learning_rate" in by_hand:  # one thing under two names
        values["learning_rate"] = _rate(by_hand.pop("learning_rate"))
    values["hyperparameters"] = by_hand
    if not set(given.get("keys") or ()) <= {"model", "optimizer", "scheduler"}:
        raise UsageProblem("keys are for model, optimizer and scheduler")
    chosen = Options(**values)  # type: ignore[arg-type]
    if not chosen.only or not chosen.only <= frozenset(PARTS):
        raise UsageProblem(f"only is some of {', '.join(PARTS)}")
    return chosen


def _rate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageProblem(f"a learning rate is a number, not {value!r}")
    return value


class Options(NamedTuple):
    """A request: `GraftOptions` with its defaults; `more`: other optimizers that are asked for beside `optimizer`."""

    only: frozenset[str] = frozenset(PARTS)
    optimizer: str | None = None
    mapping: Mapping[str, str] = {}
    partial: bool = False
    generation: Generation | None = None
    optimizer_class: str | None = None
    iterations: int | None = None
    learning_rate: float | None = None
    hyperparameters: Mapping[str, object] = {}
    link: bool = False
    groups: Literal["keep", "target"] | None = None
    keys: Mapping[str, str] = {}
    more: tuple[str, ...] = ()

    @property
    def donor_optimizer(self) -> str | None:
        """What the donor calls the optimizer that is meant."""
        return (self.optimizer or "").partition("=")[0] or None

    @property
    def target_optimizer(self) -> str | None:
        """What the target calls it, or is to call it; None where nothing is said of that."""
        return (self.optimizer or "").partition("=")[2] or None


def wishes_of(options: Options) -> Wishes:
    """What a translation between frameworks is told."""
    return Wishes(options.learning_rate, options.iterations, options.optimizer_class, options.mapping)
