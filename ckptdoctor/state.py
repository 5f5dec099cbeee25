"""The vocabulary: what an artifact holds, as pure frozen data.

Every reader in `formats/` answers with these types, every rule, report and graft is a function of them. Nothing here
opens a file. The tensors that they hold are in `references.py`.

They are named tuples: of a million tensors a frozen dataclass costs five times as much to make, nine times to define.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

from ckptdoctor.kinds import Format as Format  # noqa: PLC0414 - a part of the vocabulary
from ckptdoctor.kinds import Generation as Generation  # noqa: PLC0414 - a part of the vocabulary
from ckptdoctor.kinds import Role as Role  # noqa: PLC0414 - a part of the vocabulary
from ckptdoctor.kinds import Status as Status  # noqa: PLC0414 - a part of the vocabulary
from ckptdoctor.logged import Logged
from ckptdoctor.methods import carry_out
from ckptdoctor.references import TensorRef, TreeLeaf

Scalar: TypeAlias = int | float | bool | str

NOTHING: Mapping[Any, Any] = {}
"""An empty mapping, which nobody fills."""

Mapped: TypeAlias = Literal["name", "order", "shape"]
"""How a slot was given to its variable: the artifact links them, by position, or only the shape fits."""


# -------------------------------------------------------------------------------------------------- what it holds


class ModelVariable(NamedTuple):
    """A variable of the model.

    Attributes:
        path: `/`-separated name, unique in the artifact; slots refer to it.
        tensor: Its value.
        trainable: Whether the model trains it; None where nothing in the artifact tells.
        aliases: Other names the artifact knows it by (full name, object path, data set).
    """

    path: str
    tensor: TensorRef
    trainable: bool | None = None
    aliases: tuple[str, ...] = ()


class Slot(NamedTuple):
    """A slot variable: optimizer state that belongs to one model variable.

    Attributes:
        name: The artifact's own name for the kind (`m`, `momentum`, `Adam_1`).
        role: The same in one vocabulary.
        variable: Path of its model variable; None where that is not in the artifact or cannot be told.
        tensor: Its value.
        mapping: How `variable` was found.
    """

    name: str
    role: Role
    variable: str | None
    tensor: TensorRef
    mapping: Mapped = "name"


def quantity(role: Role, name: str) -> Role | str:
    """What a slot is, to tell it from others of its variable: its role, or its name where the vocabulary has none."""
    return name if role is Role.OTHER else role


class MissingSlot(NamedTuple):
    """A slot variable that this optimizer keeps and this artifact lacks.

    Attributes:
        name: As that of the slots that are there.
        role: The same in one vocabulary.
        variable: Path of its model variable; None where nothing tells which of several lacks its own.
    """

    name: str
    role: Role
    variable: str | None


class OtherVariable(NamedTuple):
    """Optimizer state that belongs to no single variable: a learning rate, beta powers, Nadam's product."""

    name: str
    tensor: TensorRef
    value: Scalar | None = None


class Recoverable(NamedTuple):
    """An iteration count that is not stored but follows from something that is."""

    value: int
    source: str


class Oddity(NamedTuple):
    """Something a reader noticed that is not wrong enough to stop; rules turn it into a finding with this code.

    Attributes:
        code: The rule.
        message: One sentence.
        fix: The name of the fix of `repair` that mends it; "" if there is none.
    """

    code: str
    message: str
    fix: str = ""


class Schedule(NamedTuple):
    """A learning-rate schedule from the configuration, as far as it can be computed.

    Attributes:
        class_name: The Keras class.
        config: Its configuration.
        learning_rate: The rate at the next step; None where it cannot be computed.
        learning_rate_if_lost: The rate if the count restarted at 0.
    """

    class_name: str
    config: Mapping[str, object]
    learning_rate: float | None = None
    learning_rate_if_lost: float | None = None

    def at(self, step: int) -> float | None:
        """The rate at a step; None where that cannot be computed.

        Raises:
            ckptdoctor.errors.UsageProblem: The step is negative.
        """
        found: float | None = carry_out("rate", self, step)
        return found


class Count(NamedTuple):
    """A count that an optimizer keeps: PyTorch has one a parameter, optax one a transform.

    Attributes:
        value: What is stored; None where that is no whole number.
        of, key: What counts, and where it is stored.
        where: Path of the parameter, or of the transform in the chain; "" for the optimizer itself.
        tensor: What it is stored in; None where a counter or a document holds it.
    """

    value: int | None
    of: Literal["optimizer", "parameter", "transform", "schedule"]
    key: str
    where: str = ""
    tensor: TensorRef | None = None


class ParamGroup(NamedTuple):
    """Variables that an optimizer trains with the same settings.

    Attributes:
        name: Its name, where it has one.
        variables: Paths, in the optimizer's order; None for one that the artifact does not name.
        hyperparameters: Its settings.
    """

    name: str | None
    variables: tuple[str | None, ...]
    hyperparameters: Mapping[str, object] = NOTHING


class StateDict(NamedTuple):
    """An optimizer as PyTorch keeps it, taken apart but not interpreted.

    Attributes:
        groups: The settings of each parameter group, as they are stored, without its parameters.
        sizes: How many parameters each has.
        states: The state of each parameter, in the order of the groups; None for one that has none.
    """

    groups: tuple[Mapping[Any, Any], ...]
    sizes: tuple[int, ...]
    states: tuple[Mapping[Any, Any] | None, ...]


class SchedulerState(NamedTuple):
    """A learning-rate scheduler that keeps state of its own, as PyTorch's do.

    Attributes:
        name: Its name in the artifact.
        class_name: Its class, recorded or inferred; None where nothing tells.
        class_candidates: Other classes whose state looks the same.
        last_epoch: Its count.
        learning_rates: The rates in force, one a group.
        next: Those of the first group in the next three steps; None where they are not known.
        if_lost: The same if the scheduler's state were not restored.
        optimizer: Name of the optimizer whose rates it sets; None where that is not told.
        stored: Its state_dict.
    """

    name: str
    class_name: str | None = None
    class_candidates: tuple[str, ...] = ()
    last_epoch: int | None = None
    learning_rates: tuple[float, ...] = ()
    next: tuple[float, ...] | None = None
    if_lost: tuple[float, ...] | None = None
    optimizer: str | None = None
    stored: Mapping[Any, Any] = NOTHING

    def at(self, step: int, settings: Mapping[str, object] = NOTHING) -> float | None:
        """The rate of the first group when its count is this; None where its state does not tell, or has passed it.

        Args:
            step: The count.
            settings: Those of the group, which OneCycleLR and SWALR keep their limits in.

        Raises:
            ckptdoctor.errors.UsageProblem: The step is negative.
        """
        found: float | None = carry_out("scheduled_rate", self, step, settings)
        return found


class Companion(NamedTuple):
    """What exact resumption needs beside model and optimizer.

    Attributes:
        kind: What it is.
        name: Its name in the artifact.
        present: Whether its state is there.
        lost: What training without it does otherwise, as a clause.
    """

    kind: Literal["scaler", "rng", "sampler", "averages", "loop", "callback"]
    name: str
    present: bool
    lost: str


class Wrapper(NamedTuple):
    """An optimizer around the optimizer: `LossScaleOptimizer`, or one with slots of its own (`Lookahead`, `SWA`).

    Attributes:
        class_name: The Keras class.
        loss_scale: Its scale.
        variables: State of its own.
        configured: False where the state is a wrapper's, but the artifact's configuration names none.
    """

    class_name: str
    loss_scale: float | None = None
    variables: tuple[OtherVariable, ...] = ()
    configured: bool = True

    @property
    def scales_loss(self) -> bool:
        """Whether it is a LossScaleOptimizer of some version, which keeps no slots."""
        return self.class_name.startswith("LossScaleOptimizer")


class OptimizerState(NamedTuple):
    """One optimizer and what the artifact holds of it.

    Attributes:
        name: Its name in the artifact (attribute path, optimizer name).
        class_name: The Keras class, recorded or inferred; None where nothing tells.
        class_inferred: The class follows from the slots; no record names it.
        class_candidates: Other classes that fit as well.
        generation: Which implementation wrote it.
        iterations: The count as stored; None means that none is in the artifact, or several that differ.
        iterations_key: Where it is stored.
        iterations_tensor: What it is stored in; None where a counter holds it, or nothing.
        iterations_reported: What the framework would report, where that differs (gradient accumulation).
        recoverable: A count that can be derived.
        counts: Every count, where it keeps more than that one.
        hyperparameters: From the configuration or the stored scalars; what all groups agree on.
        groups: Its parameter groups, of optimizers that have such.
        schedule: The learning-rate schedule, where one is configured.
        scheduled: A schedule sets the learning rate that only the training code knows.
        slots: Every slot variable.
        missing: Slots that it keeps but the artifact lacks.
        other: State that belongs to no single variable.
        shared: The same of this optimizer or of another one: nothing tells whose.
        wrapper: An optimizer around this one.
        recorded: The artifact records this optimizer, if only as a configuration or an empty node.
        notes: Things an engineer should know, a sentence each.
        conflicts: Where what is stored contradicts the configuration, or itself.
        label: What its program calls it (`optimizer.name`), where that is told.
        stored: Its state_dict, of PyTorch.
    """

    name: str
    class_name: str | None
    generation: Generation | None
    class_inferred: bool = False
    class_candidates: tuple[str, ...] = ()
    iterations: int | None = None
    iterations_key: str | None = None
    iterations_tensor: TensorRef | None = None
    iterations_reported: int | None = None
    counts: tuple[Count, ...] = ()
    recoverable: Recoverable | None = None
    hyperparameters: Mapping[str, object] = NOTHING
    groups: tuple[ParamGroup, ...] = ()
    schedule: Schedule | None = None
    scheduled: bool = False
    slots: tuple[Slot, ...] = ()
    missing: tuple[MissingSlot, ...] = ()
    other: tuple[OtherVariable, ...] = ()
    shared: tuple[OtherVariable, ...] = ()
    wrapper: Wrapper | None = None
    recorded: bool = True
    notes: tuple[str, ...] = ()
    conflicts: tuple[Oddity, ...] = ()
    label: str | None = None
    stored: StateDict | None = None

    @property
    def has_state(self) -> bool:
        """Whether any of its state is in the artifact."""
        return self.iterations is not None or bool(self.slots) or bool(self.other) or bool(self.counts)

    @property
    def iterations_range(self) -> tuple[int, int] | None:
        """The least and the greatest of its counts, where they differ."""
        values = {each.value for each in self.counts if each.value is not None and each.of != "schedule"}
        return (min(values), max(values)) if len(values) > 1 else None

    @property
    def all_counts(self) -> tuple[Count, ...]:
        """Every count; that of the optimizer where it is the only one."""
        if self.counts or self.iterations_key is None:
            return self.counts
        return (Count(self.iterations, "optimizer", self.iterations_key, "", self.iterations_tensor),)

    def to_frame(self, library: Literal["pandas", "polars"] | None = None) -> Any:
        """Its slots and whatever else it keeps, a row each, in pandas or polars."""
        return carry_out("optimizer_frame", self, library)

    def __repr__(self) -> str:
        return str(carry_out("optimizer_text", self))

    def _repr_html_(self) -> str:
        return str(carry_out("optimizer_html", self))


class Producer(NamedTuple):
    """What wrote the artifact, as far as the artifact tells."""

    framework: str | None = None
    version: str | None = None


class TrainingState(NamedTuple):
    """Everything that was read from one artifact.

    Attributes:
        path: As the user gave it, or as it was found below what the user gave.
        format: What it is.
        producer: What wrote it.
        variables: The model's variables, in the model's order where that is known.
        optimizers: Each optimizer that the artifact records or holds state of.
        schedulers: Learning-rate schedulers with state of their own; what a configuration says is in the optimizers.
        companions: What else exact resumption needs.
        counters: Counts that are not an optimizer's (`global_step`, `save_counter`, a `step` attribute).
        counter_tensors: Name of a counter → what it is stored in.
        others: Tensors that are none of the above (metrics, strings, configuration).
        oddities: What was noticed.
        callback: The callback that saves and loads it, where its place tells.
        by_objects: It is a graph of objects, which hang together by the names of attributes.
        ordered: Its variables are in the model's order; False where nothing tells that.
        leaves: The whole tree, of one that a JAX program saved.
        logged: What it tells of how training went.
        progress: Fields of the document in which a trainer keeps its progress, with `/` the callbacks that it has.
    """

    path: str
    format: Format
    producer: Producer = Producer()
    variables: tuple[ModelVariable, ...] = ()
    optimizers: tuple[OptimizerState, ...] = ()
    schedulers: tuple[SchedulerState, ...] = ()
    companions: tuple[Companion, ...] = ()
    counters: Mapping[str, int] = NOTHING
    counter_tensors: Mapping[str, TensorRef] = NOTHING
    others: tuple[TensorRef, ...] = ()
    oddities: tuple[Oddity, ...] = ()
    callback: str | None = None
    by_objects: bool = False
    ordered: bool = True
    leaves: tuple[TreeLeaf, ...] = ()
    logged: Logged = Logged()
    progress: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return str(carry_out("state_text", self))
