"""What a comparison answers with: item by item and slot by slot, whether A and B agree. Pure frozen data."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeAlias

from ckptdoctor.optimizers.planned import Matched
from ckptdoctor.state import Format, Producer, Role

Shape: TypeAlias = tuple[int, ...]
Said: TypeAlias = tuple[object, object]


class Outcome(str, Enum):
    """How one thing compares."""

    EQUAL = "equal"
    DIFFERENT = "different"
    ONLY_A = "only-a"
    """A holds it and B does not."""
    ONLY_B = "only-b"
    UNDECIDED = "undecided"
    """Both hold something, and nothing tells whether it is the same: never taken for equal."""
    NOT_COMPARED = "not-compared"
    """Not asked for, or a setting that one side does not record: no difference, and no proof of equality."""


class Verdict(str, Enum):
    """The whole answer."""

    EQUAL = "equal"
    NO_DIFFERENCE = "no-difference"
    """Nothing differs, and the values of slots were not read: they may."""
    UNDECIDED = "undecided"
    DIFFERENT = "different"


_ORDER = tuple(Verdict)


def verdict_of(items: Iterable[Outcome], tensors: Iterable[Outcome] = ()) -> Verdict:
    """The worst of several outcomes: a difference, then what nothing decides, then tensors that were not read."""
    read = set(tensors)
    found = read.union(items)
    if found & {Outcome.DIFFERENT, Outcome.ONLY_A, Outcome.ONLY_B}:
        return Verdict.DIFFERENT
    if Outcome.UNDECIDED in found:
        return Verdict.UNDECIDED
    return Verdict.NO_DIFFERENCE if Outcome.NOT_COMPARED in read else Verdict.EQUAL


class Layer(str, Enum):
    """What an item is about."""

    CLASS = "class"
    GENERATION = "generation"
    ITERATIONS = "iterations"
    HYPERPARAMETER = "hyperparameter"
    SCHEDULE = "schedule"
    SCALAR = "scalar"
    WRAPPER = "wrapper"


class Item(NamedTuple):
    """One thing that is no tensor of a variable.

    Attributes:
        layer: What it is about.
        name: Its name: that of the hyperparameter or scalar, else the layer's.
        said: What A and B say; None where one says nothing.
        outcome: The comparison.
        detail: What else there is to know.
    """

    layer: Layer
    name: str
    said: Said
    outcome: Outcome
    detail: str = ""

    @property
    def a(self) -> object:
        """What A says."""
        return self.said[0]

    @property
    def b(self) -> object:
        """What B says."""
        return self.said[1]


class Figures(NamedTuple):
    """How the values of two tensors compare.

    Attributes:
        elements: How many there are.
        differing: How many differ by more than the tolerance.
        max_absolute: The largest absolute difference, whatever the tolerance; NaN where a number faces none.
        max_relative: The largest difference relative to the greater of the two values.
    """

    elements: int
    differing: int
    max_absolute: float
    max_relative: float


class Place(NamedTuple):
    """A tensor of one side.

    Attributes:
        name: The artifact's own name for the kind of slot; for a weight, its path.
        variable: Path of the model variable; a place like `#3` where the artifact names none.
        key: The artifact's name for the tensor.
        shape: Its shape.
        dtype: Its type.
    """

    name: str
    variable: str
    key: str
    shape: Shape
    dtype: str


class SlotResult(NamedTuple):
    """A slot variable.

    Attributes:
        role: What it is.
        a: Where A holds it; None if it does not.
        b: Where B holds it.
        outcome: The comparison.
        matched: How the variables were found to be one; None for a slot of one side.
        translation: What B's numbers became before they were compared, as a formula; "" if they were taken as they are.
        figures: The values' comparison; None if they were not read.
        detail: What else there is to know.
    """

    role: Role
    a: Place | None
    b: Place | None
    outcome: Outcome
    matched: Matched | None = None
    translation: str = ""
    figures: Figures | None = None
    detail: str = ""

    @property
    def variable(self) -> str:
        """The variable, as A calls it, else as B does."""
        place = self.a or self.b
        return place.variable if place is not None else ""


class WeightResult(NamedTuple):
    """A model variable; the attributes are those of a slot's result."""

    a: Place | None
    b: Place | None
    outcome: Outcome
    matched: Matched | None = None
    figures: Figures | None = None
    detail: str = ""

    @property
    def variable(self) -> str:
        """Its path in A, else in B."""
        place = self.a or self.b
        return place.variable if place is not None else ""


class Weights(NamedTuple):
    """The models' weights.

    Attributes:
        results: Variable by variable; of a sample of them where they were not to be compared in full.
        counted: They were compared in full, and a difference counts for the verdict.
        total: How many variables of both sides belong together.
    """

    results: tuple[WeightResult, ...]
    counted: bool
    total: int

    @property
    def verdict(self) -> Verdict:
        """Whether those that were compared agree."""
        return verdict_of(each.outcome for each in self.results)


@dataclass(frozen=True, slots=True)
class OptimizerComparison:
    """One optimizer of A and its counterpart of B.

    Attributes:
        name_a: Its name in A; None if A holds none.
        name_b: Its name in B.
        items: Class, generation, iterations, hyperparameters, schedule, scalars, wrapper.
        slots: Every slot of both.
        notes: What an engineer should know, a sentence each.
    """

    name_a: str | None
    name_b: str | None
    items: tuple[Item, ...] = ()
    slots: tuple[SlotResult, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Whether they hold the same state."""
        return verdict_of((each.outcome for each in self.items), (each.outcome for each in self.slots))

    def item(self, layer: Layer) -> Item | None:
        """The item of a layer that has one only."""
        return next((each for each in self.items if each.layer is layer), None)


class Artifact(NamedTuple):
    """A side of the comparison.

    Attributes:
        path: As it was given.
        resolved: What was read for it.
        format: Its format.
        producer: What wrote it.
        state: It holds optimizer state, of an optimizer that was compared.
    """

    path: str
    resolved: str
    format: Format
    producer: Producer
    state: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """The answer.

    Attributes:
        a: The first artifact.
        b: The second.
        optimizers: Each optimizer with its counterpart; empty if neither artifact holds optimizer state.
        weights: The models' weights.
        values: Values of slots were to be compared.
        rtol: The relative tolerance.
        atol: The absolute tolerance.
    """

    a: Artifact
    b: Artifact
    optimizers: tuple[OptimizerComparison, ...]
    weights: Weights
    values: bool
    rtol: float
    atol: float

    @property
    def nothing(self) -> bool:
        """Neither holds optimizer state."""
        return not (self.a.state or self.b.state)

    @property
    def verdict(self) -> Verdict:
        """Whether A and B hold the same optimizer state, and the same weights if those count."""
        found = [each.verdict for each in self.optimizers]
        if self.nothing:
            found.append(Verdict.UNDECIDED)
        if self.a.state != self.b.state:
            found.append(Verdict.DIFFERENT)
        if self.weights.counted:
            found.append(self.weights.verdict)
        return max(found, key=_ORDER.index, default=Verdict.UNDECIDED)

    @property
    def agrees(self) -> bool:
        """No difference was found, and nothing is undecided: the command's exit code is 0."""
        return self.verdict in {Verdict.EQUAL, Verdict.NO_DIFFERENCE}

    @property
    def equal(self) -> bool:
        """All of the state was compared, the values too, and is the same."""
        return self.verdict is Verdict.EQUAL
