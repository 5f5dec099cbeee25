"""A list of state variables, read element by element: by their names where they have telling ones, else by position.

Names are what the framework wrote next to each value and hold even where gradients were applied in an order of their
own; positions are what every framework's own loader goes by. Each answer says which of the two it rests on.
"""

from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import NamedTuple

from ckptdoctor.optimizers.catalogue import (
    WRAPPED_LAYOUTS,
    Layout,
    PerVariable,
    Single,
    SlotKind,
    classes,
    layouts,
)
from ckptdoctor.optimizers.keras.config import RARE, OptimizerConfig, Settings
from ckptdoctor.optimizers.keras.naming import Names, role_of, same_kind, scalar_name
from ckptdoctor.optimizers.lists.alone import fit_alone
from ckptdoctor.optimizers.lists.as_is import Listed, scalars_as_they_are, slots_as_they_are
from ckptdoctor.optimizers.lists.layout import (
    ITERATION,
    LEARNING_RATE,
    Assigned,
    Fit,
    Item,
    Shape,
    Trained,
    blocks,
    fit,
    predicts,
    settings_to_try,
)
from ckptdoctor.optimizers.lists.loose import Loose, arrange
from ckptdoctor.optimizers.lists.placement import Placement, place
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, Mapped, ModelVariable, OtherVariable, Role, Scalar, Slot


class StateVariable(NamedTuple):
    """An element of an optimizer's state list.

    Attributes:
        tensor: Its value; None if the list names it and the artifact has lost it.
        value: The number, where it is a single one.
        name: What the framework called it, where the artifact tells.
    """

    tensor: TensorRef | None
    value: Scalar | None = None
    name: str | None = None

    @property
    def is_scalar(self) -> bool:
        """Whether it has no dimensions."""
        return self.tensor is not None and self.tensor.shape == ()

    @property
    def is_count(self) -> bool:
        """Whether it is a single whole number."""
        return self.is_scalar and isinstance(self.value, int) and not isinstance(self.value, bool)


class Reading(NamedTuple):
    """What each element of a list is.

    Attributes:
        slots: The slot variables.
        iteration: The count.
        other: Scalars that belong to no single variable.
        layout: The catalogue's entry that predicts the list.
        settings: The settings under which it does.
        candidates: Other classes that predict it too.
        unread: Elements that could not be told.
    """

    slots: tuple[Slot, ...] = ()
    iteration: StateVariable | None = None
    other: tuple[OtherVariable, ...] = ()
    layout: Layout | None = None
    settings: Settings = Settings()
    candidates: tuple[str, ...] = ()
    unread: tuple[StateVariable, ...] = ()


class Question(NamedTuple):
    """Everything that is known about a list of state variables before it is read.

    Attributes:
        state: The list.
        orders: Variables that the optimizer may train, in the orders in which it may hold them, likeliest first; the
            last one is the widest.
        config: The optimizer's configuration.
        generation: Which implementation wrote the list; None where nothing tells.
        wrapped: A LossScaleOptimizer is around, inside of which some classes keep less.
        loose: Variables of objects whose place among their siblings nothing tells.
    """

    state: tuple[StateVariable, ...]
    orders: tuple[tuple[ModelVariable, ...], ...]
    config: OptimizerConfig | None
    generation: Generation | None
    wrapped: bool = False
    loose: Loose = MappingProxyType({})

    @property
    def settings(self) -> Settings | None:
        """The configured settings."""
        return None if self.config is None else self.config.settings

    def layouts(self) -> Iterator[tuple[Layout, ...]]:
        """The layouts of each class in question, the likeliest class first."""
        generations = [self.generation] if self.generation else [
            Generation.KERAS3, Generation.OPTIMIZER_V2, Generation.KERAS2, Generation.KERAS1,
        ]  # fmt: skip
        for generation in generations:
            if self.config is not None:
                recorded = self._recorded(self.config, generation)
                if recorded:
                    yield recorded
                continue  # of a class that the catalogue does not know, no other's layout tells anything
            for name in classes(generation):
                yield layouts(name, generation)

    def _recorded(self, config: OptimizerConfig, generation: Generation) -> tuple[Layout, ...]:
        known = layouts(config.class_name, generation)
        inside = [one for one in WRAPPED_LAYOUTS if (one.class_name, one.generation) == (config.class_name, generation)]
        if config.nested:
            from ckptdoctor.optimizers.declared import around

            return around(config.wrapper, known)
        return (*known, *inside) if self.wrapped else known


def read_list(question: Question) -> Reading:
    """Reads a list of state variables as well as it can be read."""
    named = _by_name(question)
    if named is not None and not named.unread and all(slot.variable is not None for slot in named.slots):
        return named
    if not any(each.tensor is not None for each in question.state):
        return Reading(unread=question.state)
    # What is around may have slots of its own, which no layout tells unless they are declared.
    untold = question.config is not None and question.config.nested and not any(question.layouts())
    placed = _head_only(question) or (None if untold else _in_known_order(question) or _alone(question))
    if placed is None:
        return named or _as_it_is(question)
    found = sum(slot.variable is not None for slot in placed.slots)
    if named is not None and sum(slot.variable is not None for slot in named.slots) > found:
        return named
    return placed


# ------------------------------------------------------------------------------------------------------- by name


def _by_name(question: Question) -> Reading | None:
    """Reads the names; None if the generation's names say nothing or the list has none."""
    widest = question.orders[-1] if question.orders else ()
    names = Names({each.path: each.aliases for each in widest})
    slots: list[Slot] = []
    other: list[OtherVariable] = []
    leftover: list[StateVariable] = []
    iteration: StateVariable | None = None
    for each in question.state:
        if each.name is None or each.tensor is None:
            return None
        parsed = names.parse(each.name, question.generation)
        scalar = scalar_name(each.name) if each.is_scalar or (parsed is None and each.value is not None) else None
        if parsed is not None and (parsed.known or scalar is None):
            slots.append(Slot(parsed.slot, Role.OTHER, parsed.variable if parsed.known else None, each.tensor, "name"))
        elif scalar == "iteration" and iteration is None:
            iteration = each
        elif scalar is not None:
            other.append(OtherVariable(scalar, each.tensor, each.value))
        else:
            leftover.append(each)
    if not slots and leftover:
        return None
    reading = Reading(tuple(slots), iteration, tuple(other))
    layout, settings, candidates = _class_of(question, reading, len(leftover))
    class_name = question.config.class_name if question.config else layout.class_name if layout else None
    roles = {slot.name: role_of(slot.name, question.generation, class_name) for slot in slots}
    singles = iter(_singles_of(layout, {each.name for each in other}))
    unread: list[StateVariable] = []
    for each in leftover:
        single = next(singles, None) if each.is_scalar else None
        if single is None or each.tensor is None:
            unread.append(each)
        else:
            other.append(OtherVariable(single, each.tensor, each.value))
    return reading._replace(
        slots=tuple(slot._replace(role=roles[slot.name]) for slot in slots),
        other=tuple(other),
        layout=layout,
        settings=settings,
        candidates=candidates,
        unread=tuple(unread),
    )


def _singles_of(layout: Layout | None, known: set[str]) -> list[str]:
    """Scalars that the class keeps and no name gave away (Keras 3 calls Nadam's product `nadam/variable`)."""
    if layout is None:
        return []
    return [block.name for block in layout.blocks if isinstance(block, Single) and block.name not in known]


def _class_of(question: Question, reading: Reading, unnamed: int) -> tuple[Layout | None, Settings, tuple[str, ...]]:
    """The layout whose slot kinds are exactly those that are there, and other classes with such a layout."""
    present = {slot.name for slot in reading.slots}
    flags = question.settings.flags if question.settings else frozenset()
    found: list[tuple[Layout, frozenset[str]]] = []
    for variants in question.layouts():
        for layout in variants:
            kinds = [kind for block in blocks(layout) if isinstance(block, PerVariable) for kind in block.kinds]
            flags_shown = {kind.when for kind in kinds if kind.when and any(same_kind(name, kind) for name in present)}
            explained = all(any(same_kind(name, kind) for kind in kinds) for name in present)
            wanted = all(any(same_kind(name, kind) for name in present) for kind in kinds if not kind.when)
            singles = len(_singles_of(layout, {each.name for each in reading.other}))
            if explained and (wanted or not present) and singles <= unnamed:
                found.append((layout, frozenset(flags_shown)))
                break
    if not found:
        known = next(iter(question.layouts()), ()) if question.config else ()
        return (known[0] if known else None), question.settings or Settings(), ()
    layout, shown = found[0]
    settings = (question.settings or Settings())._replace(flags=flags | shown)
    recorded = question.config is not None and layout.class_name == question.config.class_name
    return layout, settings, () if recorded else tuple(each.class_name for each, _ in found[1:])


# --------------------------------------------------------------------------------------------------- by position


def _items(question: Question) -> list[Item]:
    return [Item(each.tensor.shape, each.is_count) for each in question.state if each.tensor is not None]


def _trained(variables: Sequence[ModelVariable]) -> list[Trained]:
    return [Trained(each.path, each.tensor.shape) for each in variables]


def _head_only(question: Question) -> Reading | None:
    """A count, and perhaps a learning rate: compiled and never built, or an optimizer that keeps nothing else."""
    state = question.state
    if len(state) > 2 or not all(each.is_scalar for each in state) or not state[0].is_count:  # noqa: PLR2004
        return None
    if len(state) == 2 and (state[1].is_count or any(len(order) == 1 for order in question.orders)):  # noqa: PLR2004
        return None
    rate = state[1:]
    found = [variants[0] for variants in question.layouts()]
    layout = found[0] if found and question.config else None
    return Reading(
        iteration=state[0],
        other=tuple(OtherVariable(LEARNING_RATE.name, each.tensor, each.value) for each in rate if each.tensor),
        layout=layout,
        settings=question.settings or Settings(),
    )


def _in_known_order(question: Question) -> Reading | None:
    """Lays the catalogue over the list, for each order in which the optimizer may hold the variables."""
    complete = all(each.tensor is not None for each in question.state)
    for order in (*question.orders, ()):
        variables = _trained(order)
        found: list[Fit] = []
        for variants in question.layouts():
            if complete:
                one = fit(_items(question), variants, variables, question.settings)
            else:
                one = _fit_with_gaps(question, variants, variables)
            if one is not None:
                found.append(one)
        if found:
            best = min(found, key=_rarity) if question.config is None else found[0]
            read = _from_fit(question, best, [each.path for each in order], "order", found)
            unsure = _unsure(question, variables)
            slots = tuple(slot._replace(mapping="shape") if slot.variable in unsure else slot for slot in read.slots)
            return read._replace(slots=slots)
    return None


def _unsure(question: Question, variables: Sequence[Trained]) -> set[str]:
    """Variables that another arrangement of objects in no known order would give to other slots."""
    if not any(each.path in question.loose for each in variables):
        return set()
    arranged = arrange([each.shape for each in variables], variables, question.loose)
    told = {index for index in arranged or () if index is not None}
    return {each.path for index, each in enumerate(variables) if index not in told and each.path in question.loose}


def _fit_with_gaps(question: Question, variants: Sequence[Layout], variables: Sequence[Trained]) -> Fit | None:
    """Like `fit`, for a list of which some elements are lost: the others must stand where the layout says."""
    shapes = [None if each.tensor is None else each.tensor.shape for each in question.state]
    for layout in variants:
        for settings in settings_to_try(layout, question.settings):
            assigned = predicts(layout, variables, settings, shapes)
            if assigned is not None:
                return Fit(layout, settings, assigned)
    return None


def _alone(question: Question) -> Reading | None:
    """Takes the variables' shapes from the slots themselves, and looks for the variables afterwards."""
    if any(each.tensor is None for each in question.state):
        return None
    pool = question.orders[-1] if question.orders else ()
    candidates = _trained(pool)
    places: dict[tuple[Shape, ...], Placement] = {}
    found: list[tuple[Fit, tuple[str | None, ...], Mapped]] = []
    for variants in question.layouts():
        answers = []
        for one in fit_alone(_items(question), variants, question.settings):
            placed = places.get(one.trained) or _arranged(question, one.trained) or place(one.trained, candidates)
            places[one.trained] = placed
            paths = tuple(None if index is None else pool[index].path for index in placed.indices)
            answers.append((one, paths, placed.mapping))
        if answers:
            found.append(max(answers, key=lambda answer: sum(path is not None for path in answer[1])))
    if not found:
        return None

    def merit(answer: tuple[Fit, tuple[str | None, ...], Mapped]) -> tuple[bool, bool, int]:
        too_many = bool(pool) and len(answer[1]) > len(pool)  # no model trains more variables than it has
        return too_many, None in answer[1], _rarity(answer[0]) if question.config is None else 0

    best, paths, mapping = min(found, key=merit)
    return _from_fit(question, best, paths, mapping, [one for one, *_ in found])


def _arranged(question: Question, shapes: Sequence[Shape]) -> Placement | None:
    """Objects in no known order, put where the shapes of the slots want them; indices are those of the widest order."""
    if not question.loose:
        return None
    places = {each.path: index for index, each in enumerate(question.orders[-1])}
    for order in question.orders:
        found = arrange(shapes, _trained(order), question.loose)
        if found is not None:
            return Placement(tuple(None if at is None else places[order[at].path] for at in found), "shape")
    return None


def _rarity(found: Fit) -> int:
    """How many unusual settings a reading needs: with enough of them, most lists could be most classes'."""
    return len(found.settings.flags & RARE)


def _from_fit(
    question: Question, best: Fit, paths: Sequence[str | None], mapping: Mapped, all_fits: Sequence[Fit]
) -> Reading:
    slots: list[Slot] = []
    other: list[OtherVariable] = []
    iteration: StateVariable | None = None
    for each, one in zip(question.state, best.assigned, strict=True):
        if each.tensor is None:
            continue
        if isinstance(one.kind, SlotKind):
            slots.append(_slot(one, one.kind, each.tensor, paths, mapping))
        elif one.kind is ITERATION:
            iteration = each
        else:
            other.append(OtherVariable(one.kind.name, each.tensor, each.value))
    recorded = question.config is not None and best.layout.class_name == question.config.class_name
    rivals = dict.fromkeys(
        each.layout.class_name
        for each in all_fits
        if each.layout.class_name != best.layout.class_name and _rarity(each) <= _rarity(best)
    )
    return Reading(tuple(slots), iteration, tuple(other), best.layout, best.settings, () if recorded else tuple(rivals))


def _slot(one: Assigned, kind: SlotKind, tensor: TensorRef, paths: Sequence[str | None], mapping: Mapped) -> Slot:
    index = one.variable
    path = paths[index] if index is not None and index < len(paths) else None
    return Slot(kind.name, kind.role, path, tensor, mapping)


def _as_it_is(question: Question) -> Reading:
    """Nothing in the catalogue fits: the count, if the list starts with one, and the rest as names and shapes tell."""
    state = [each for each in question.state if each.tensor is not None]
    iteration = state[0] if state and state[0].is_count else None
    rest = state[1:] if iteration is not None else state
    listed = [Listed(each.tensor, each.name) for each in rest if each.tensor is not None and not each.is_scalar]
    scalars = [(each.tensor, each.name, each.value) for each in rest if each.tensor is not None and each.is_scalar]
    class_name = question.config.class_name if question.config is not None else None
    slots = slots_as_they_are(listed, question.orders, question.generation, class_name)
    return Reading(slots, iteration, scalars_as_they_are(scalars))
