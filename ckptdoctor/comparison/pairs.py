"""What belongs together: which optimizer of A is which of B's, which slot is which, and what B's numbers become.

A plan, and pure data: no values are read for it but those of weights that settle a match by order.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.errors import Unmatchable
from ckptdoctor.formats.registry import record
from ckptdoctor.matching.lists import is_nameless, read_against
from ckptdoctor.matching.sides import Side, choose, make_side
from ckptdoctor.matching.variables import Called, Match, Named, match, normalized
from ckptdoctor.matching.weights import confirm
from ckptdoctor.optimizers import translation
from ckptdoctor.optimizers.catalogue import is_known
from ckptdoctor.optimizers.planned import Matched
from ckptdoctor.state import Format, Generation, OptimizerState, Role, Slot, TrainingState

IN_A_COMPARISON = Called("A", "B")

_IN_ORDER = frozenset({"list", "named-list"})
"""What formats hold that keep an optimizer's list in its own order, which is that of a dump of the same optimizer."""
_GUESSED = frozenset({"order", "structure"})
_Key: TypeAlias = tuple[Role, str]
_Like: TypeAlias = tuple[_Key, tuple[int, ...]]


class SlotPair(NamedTuple):
    """A slot of A and its counterpart in B; one of them may be lacking.

    Attributes:
        a: A's.
        b: B's.
        matched: How their variables were found to be one; None for a slot of one side.
        factor: What B's values are multiplied by to be A's quantity.
        formula: The same for people.
        obstacle: Why they cannot be compared; "" if they can.
    """

    a: Slot | None
    b: Slot | None
    matched: Matched | None = None
    factor: float = 1.0
    formula: str = ""
    obstacle: str = ""


class OptimizerPair(NamedTuple):
    """An optimizer of A and its counterpart in B.

    Attributes:
        a: A's; None if it has none.
        b: B's.
        slots: Every slot of both.
        notes: What an engineer should know.
    """

    a: OptimizerState | None
    b: OptimizerState | None
    slots: tuple[SlotPair, ...]
    notes: tuple[str, ...]


def pair_optimizers(
    a: TrainingState, b: TrainingState, wanted: str | None
) -> list[tuple[OptimizerState | None, OptimizerState | None]]:
    """Which optimizer of A is which of B's: those of one name, where both have several.

    Raises:
        Unmatchable: An artifact has several, and nothing says which is meant.
    """
    if wanted is None and len(a.optimizers) > 1 and len(b.optimizers) > 1:
        named = {each.name: each for each in b.optimizers}
        if len(named) == len(b.optimizers) and sorted(named) == sorted(each.name for each in a.optimizers):
            return [(each, named[each.name]) for each in a.optimizers]
    if wanted is None and not (a.optimizers and b.optimizers):
        return [(each, None) for each in a.optimizers] + [(None, each) for each in b.optimizers]
    if wanted is not None and not any(wanted in each.name for each in (*a.optimizers, *b.optimizers)):
        names = ", ".join(dict.fromkeys(each.name for each in (*a.optimizers, *b.optimizers))) or "none"
        raise Unmatchable(f"neither artifact has an optimizer {wanted!r}: they have {names}")
    return [(_the_one(a, wanted, "A"), _the_one(b, wanted, "B"))]


def _the_one(state: TrainingState, wanted: str | None, what: str) -> OptimizerState | None:
    return choose(state, wanted if len(state.optimizers) > 1 else None, what)


def pair_slots(
    a: tuple[TrainingState, OptimizerState | None],
    b: tuple[TrainingState, OptimizerState | None],
    mapping: Mapping[str, str],
) -> OptimizerPair:
    """Which slot of A is which of B's.

    Raises:
        Unmatchable: The mapping names a variable that is not there.
    """
    (state_a, own_a), (state_b, own_b) = a, b
    if own_a is None or own_b is None:
        lone = [SlotPair(slot, None) for slot in own_a.slots] if own_a else []
        lone += [SlotPair(None, slot) for slot in own_b.slots] if own_b else []
        return OptimizerPair(own_a, own_b, tuple(lone), ())
    own_a, own_b, notes = _named_by_the_other(state_a, own_a, state_b, own_b)
    sides = make_side(state_a, own_a), make_side(state_b, own_b)
    matches, obstacles, more = _matches(*sides, mapping)
    pairs = _pairs(own_a, own_b, matches, obstacles)
    translated = [_translated(pair, own_a, own_b) for pair in pairs]
    return OptimizerPair(own_a, own_b, tuple(translated), (*notes, *more))


def _named_by_the_other(
    state_a: TrainingState, a: OptimizerState, state_b: TrainingState, b: OptimizerState
) -> tuple[OptimizerState, OptimizerState, list[str]]:
    """Lists of arrays name no variables; the other side says which they may be for."""
    nameless = is_nameless(state_a, a), is_nameless(state_b, b)
    notes: list[str] = []
    if nameless == (True, True):
        notes.append("neither names variables: slots are compared by their places in the two lists")
        return a, b, notes
    for nameless_side, mine, theirs in ((nameless[0], a, b), (nameless[1], b, a)):
        if nameless_side and (read := _as_the_other_lists(mine, theirs, (state_b if mine is a else state_a).format)):
            notes.append(f"{'A' if mine is a else 'B'} names no variables: its list was read in the other's order")
            return (read, b, notes) if mine is a else (a, read, notes)
    try:
        if nameless[0] and a.slots:
            a = _with_slots_of(a, _read_against(a, state_b, b, IN_A_COMPARISON))
            notes.append("A names no variables: its list was read as one of B's variables, in their order")
        if nameless[1] and b.slots:
            b = _with_slots_of(b, _read_against(b, state_a, a, Called("B", "A")))
            notes.append("B names no variables: its list was read as one of A's variables, in their order")
    except Unmatchable as error:
        notes.append(error.message)
    return a, b, notes


def _as_the_other_lists(optimizer: OptimizerState, other: OptimizerState, form: Format) -> OptimizerState | None:
    """A list whose class is not known, or not in the catalogue, in the order of a list that has the same shapes."""
    told = {optimizer.class_name, *optimizer.class_candidates} - {None}
    around = other.wrapper is not None and not other.wrapper.scales_loss
    unknown = around or not is_known(other.class_name) or optimizer.class_name is None
    if (
        record(form).holds not in _IN_ORDER
        or not unknown
        or (other.class_name in told and optimizer.class_name is not None)
    ):
        return None
    if not optimizer.slots or [each.tensor.shape for each in optimizer.slots] != [
        each.tensor.shape for each in other.slots
    ]:
        return None
    slots = tuple(
        theirs._replace(tensor=mine.tensor, mapping="order")
        for mine, theirs in zip(optimizer.slots, other.slots, strict=True)
    )
    return optimizer._replace(slots=slots, class_name=other.class_name, class_candidates=(), class_inferred=True,
        generation=other.generation, wrapper=other.wrapper if around else optimizer.wrapper,
    )  # fmt: skip


def _read_against(
    optimizer: OptimizerState, state: TrainingState, other: OptimizerState, called: Called
) -> OptimizerState:
    name = None if other.class_inferred else other.class_name
    if name is not None and name not in {optimizer.class_name, *optimizer.class_candidates}:
        fitting = ", ".join(filter(None, (optimizer.class_name, *optimizer.class_candidates)))
        raise Unmatchable(f"{called.donor}'s list fits {fitting}, not {name}: this is another optimizer's state")
    return read_against(optimizer, state.variables, other, name, called)


def _with_slots_of(given: OptimizerState, read: OptimizerState) -> OptimizerState:
    return given._replace(slots=read.slots, other=read.other or given.other)


def _matches(a: Side, b: Side, mapping: Mapping[str, str]) -> tuple[dict[str, Match], dict[str, str], list[str]]:
    """(path in B → match with a path in A, path in B → why it cannot be compared, notes)."""
    ours = {name for each in a.trained for name in each.names}
    strict = {old: new for old, new in mapping.items() if old.endswith("/") or old in ours or not _known(a, old)}
    found = match(b.trained, a.trained, strict, IN_A_COMPARISON)
    guessed = {path: each for path, each in found.items() if each.how in _GUESSED}
    obstacles: dict[str, str] = {}
    notes: list[str] = []
    if guessed:
        in_a = {variable.path: variable for variable in a.state.variables}
        in_b = {variable.path: variable for variable in b.state.variables}
        with kept_open():
            weights = confirm(guessed, in_b, in_a)
        found.update(weights.matches)
        for path, other in weights.contradicted.items():
            obstacles[path] = (
                f"by order it is {found[path].donor} of A, but its weights are those of {other}: settle it with "
                f"--map {other}={path}"
            )
        if weights.unsure:
            notes.append(
                f"{len(weights.unsure)} variables are matched by order among equal shapes, which nothing proves: "
                f"{', '.join(weights.unsure[:4])}"
            )
    _by_name_only(found, a.trained, b.trained)
    return found, obstacles, notes


def _known(side: Side, name: str) -> bool:
    """Whether the model has a variable of this name, which its optimizer does not train."""
    return any(name in (each.path, *each.aliases) for each in side.state.variables)


def _by_name_only(found: dict[str, Match], a: Sequence[Named], b: Sequence[Named]) -> None:
    """Variables of one name and different shapes are one variable all the same, which has changed."""
    taken = {each.donor for each in found.values()}
    names = {normalized(each.path): each.path for each in a if each.path not in taken}
    for each in b:
        other = names.get(normalized(each.path)) if each.path not in found else None
        if other is not None:
            found[each.path] = Match(other, "path" if other == each.path else "name")
            del names[normalized(each.path)]


# --------------------------------------------------------------------------------------------------------------- pairs


def _key(slot: Slot) -> _Key:
    """What a slot is; where the catalogue knows no role, its own name has to do."""
    return slot.role, slot.name if slot.role is Role.OTHER else ""


def _pairs(
    a: OptimizerState, b: OptimizerState, matches: Mapping[str, Match], obstacles: Mapping[str, str]
) -> list[SlotPair]:
    theirs: dict[tuple[str, _Key], list[Slot]] = {}
    for slot in b.slots:
        theirs.setdefault((slot.variable or "", _key(slot)), []).append(slot)
    paths = {each.donor: path for path, each in matches.items()}
    pairs: list[SlotPair] = []
    for slot in a.slots:
        path = paths.get(slot.variable) if slot.variable is not None else ""
        found = theirs.get((path, _key(slot))) if path is not None else None
        if not found:
            pairs.append(SlotPair(slot, None))
            continue
        how: Matched = matches[path].how if path else "order"
        pairs.append(SlotPair(slot, found.pop(0), how, obstacle=obstacles.get(path or "", "")))
    lone = {id(slot) for rest in theirs.values() for slot in rest}
    pairs += [SlotPair(None, slot) for slot in b.slots if id(slot) in lone]
    return _unmatched(_unplaced(pairs))


def _unmatched(pairs: list[SlotPair]) -> list[SlotPair]:
    """Slots that may be one, had their variables the same name on both sides: nobody knows until the user says it."""
    options: tuple[dict[_Like, str], dict[_Like, str]] = ({}, {})
    for pair in pairs:
        for slot, other, known in ((pair.a, pair.b, options[0]), (pair.b, pair.a, options[1])):
            if slot is not None and other is None and not pair.obstacle and slot.variable is not None:
                known.setdefault((_key(slot), slot.tensor.shape), slot.variable)
    return [_hinted(pair, *options) for pair in pairs]


def _hinted(pair: SlotPair, in_a: Mapping[_Like, str], in_b: Mapping[_Like, str]) -> SlotPair:
    """A slot of one side, with the variable of the other that it may belong to."""
    slot = pair.a or pair.b
    if slot is None or (pair.a is not None and pair.b is not None) or pair.obstacle or slot.variable is None:
        return pair
    lacking, others = ("B", in_b) if pair.a is not None else ("A", in_a)
    option = others.get((_key(slot), slot.tensor.shape))
    if option is None:
        return pair
    ours, theirs = (slot.variable, option) if pair.a is not None else (option, slot.variable)
    return pair._replace(obstacle=f"{lacking} has no such variable; if it is {option}: --map {ours}={theirs}")


def _unplaced(pairs: list[SlotPair]) -> list[SlotPair]:
    """A slot whose variable cannot be told faces none: whether the other side has it, nobody knows."""
    lone_a = {_key(pair.a) for pair in pairs if pair.a is not None and pair.b is None}
    lone_b = {_key(pair.b) for pair in pairs if pair.b is not None and pair.a is None}
    doubtful = {
        _key(slot)
        for pair in pairs
        for slot in (pair.a, pair.b)
        if slot is not None and slot.variable is None and (pair.a is None or pair.b is None)
    }
    doubtful &= lone_a & lone_b
    why = "the artifact does not tell which variable it belongs to"
    return [
        pair._replace(obstacle=why)
        if (pair.a is None or pair.b is None) and (slot := pair.a or pair.b) is not None and _key(slot) in doubtful
        else pair
        for pair in pairs
    ]


def _translated(pair: SlotPair, a: OptimizerState, b: OptimizerState) -> SlotPair:
    """What B's numbers are in A's generation."""
    if pair.a is None or pair.b is None:
        return pair
    if other_classes(a, b) and not (a.class_inferred or b.class_inferred):
        return pair._replace(obstacle=f"{a.class_name} and {b.class_name} keep other quantities under this name")
    class_name = (b if a.class_inferred else a).class_name
    rule = _rule(class_name, pair.a.role, b.generation, a.generation)
    if rule is None:
        return pair
    merged = {**b.hyperparameters, **a.hyperparameters}
    scheduled = a.schedule is not None or b.schedule is not None
    try:
        factor = rule.factor(translation.numbers_of(a.iterations or 0, merged, scheduled=scheduled))
    except translation.Untranslatable as error:
        return pair._replace(obstacle=str(error))
    return pair._replace(factor=factor, formula=rule.formula)


def other_classes(a: OptimizerState, b: OptimizerState) -> bool:
    """Whether two optimizers are of different classes, as far as the artifacts tell."""
    one, other = ({each.class_name, *each.class_candidates} - {None} for each in (a, b))
    return bool(one and other and not one & other)


def _rule(
    class_name: str | None, role: Role, origin: Generation | None, goal: Generation | None
) -> translation.SlotRule | None:
    if class_name is None or origin is None or goal is None:
        return None
    return translation.slot_rule(class_name, role, origin, goal)
