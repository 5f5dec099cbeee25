"""Dumps of an optimizer's weights: `pickle.dump`, `np.save` or `np.savez` of `get_weights()` or of its variables.

They hold no names, no class and no configuration, or whatever their author put beside the list. What they are is
inferred (`optimizers.unnamed`), and said to be.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.pickles.reading import ForbiddenImport, Key, Node, load
from ckptdoctor.containers.tensors.dtypes import INTEGRAL
from ckptdoctor.containers.tensors.samples import sample
from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.containers.zips.npy import MAGIC, read_npy, read_npz
from ckptdoctor.containers.zips.signature import SIGNATURE
from ckptdoctor.errors import UnknownFormat
from ckptdoctor.formats.dumps import jax
from ckptdoctor.formats.dumps.names import named_state, tagged_state
from ckptdoctor.formats.dumps.structure import Contents, Element, Group, contents
from ckptdoctor.optimizers.catalogue import SlotKind
from ckptdoctor.optimizers.lists.around import is_multi, loss_scale, own_length
from ckptdoctor.optimizers.lists.evidence import Kind, Observed, observe
from ckptdoctor.optimizers.lists.layout import ITERATION, Trained
from ckptdoctor.optimizers.lists.placement import Placement, place
from ckptdoctor.optimizers.lists.state import StateVariable, read_state
from ckptdoctor.optimizers.lists.unnamed import Hints, Verdict, judge
from ckptdoctor.references import Inline
from ckptdoctor.state import (  # fmt: skip
    Format,
    Generation,
    ModelVariable,
    Oddity,
    OptimizerState,
    OtherVariable,
    Role,
    Slot,
    TrainingState,
)

_NUMBERED = re.compile(r"arr_(\d{1,9})\Z")


def read(path: str) -> TrainingState:
    """Reads a dump.

    Raises:
        UnreadableArtifact: It is broken, or a pickle of something other than plain data and arrays.
    """
    try:
        root = _root(path)
    except ForbiddenImport as error:
        if not error.name.startswith(jax.PACKAGES):
            raise
        return jax.read(path)
    found = contents(root)
    # An optimizer that keeps nothing dumps an empty list.
    if root not in ([], (), {}) and not (found.groups or found.others):
        raise UnknownFormat("is no dump of an optimizer's variables: it holds no arrays", path)
    with kept_open():
        return _state(path, found)


def _root(path: str) -> Node:
    with RegularFile(path) as file:
        head = file.read(0, min(file.size, 8))
    if head.startswith(MAGIC):
        return read_npy(path)
    if head.startswith(SIGNATURE):
        return _in_order(read_npz(path))
    roots = load(path)
    return roots[0] if len(roots) == 1 else roots


def _in_order(members: dict[str, Node]) -> Node:
    """`np.savez(*arrays)` names them arr_0, arr_1 …; whoever wrote the archive may have sorted them as text."""
    numbers = [_NUMBERED.match(name) for name in members]
    if not members or not all(numbers):
        named: dict[Key, Node] = {}
        named.update(members)
        return named
    ordered = sorted(members, key=lambda name: int(name.removeprefix("arr_")))
    values = [members[name] for name in ordered]
    return values[0] if len(values) == 1 and isinstance(values[0], (list, dict)) else values


# ------------------------------------------------------------------------------------------------- from the groups


def _state(path: str, found: Contents) -> TrainingState:
    judged = [(group, _judged(group)) for group in found.groups]
    variables: list[ModelVariable] = []
    for group, answer in judged:
        if answer is None and any(each.tensor.shape for each in group.elements):
            variables.extend(_model(group))
        elif isinstance(answer, tuple):
            variables.extend(answer[1])
    optimizers: list[OptimizerState] = []
    oddities: list[Oddity] = []
    for group, answer in judged:
        name = _called(group)
        if isinstance(answer, Verdict):
            optimizers.append(_optimizer(group, answer, name, variables))
            if answer.order_open:
                oddities.append(
                    Oddity("S010", f"{name}: equal shapes leave open which array is which; read as {_order(answer)}")
                )
        elif isinstance(answer, tuple):
            optimizers.append(answer[0]._replace(name=name))
    if variables and not optimizers:
        oddities.append(
            Oddity("S001", "the arrays look like a model's weights: no count, and values that no optimizer's state has")
        )
    return TrainingState(
        path=path,
        format=Format.OPTIMIZER_DUMP,
        variables=tuple(variables),
        optimizers=tuple(optimizers),
        counters=found.counters,
        counter_tensors=found.counter_tensors,
        others=tuple(found.others),
        oddities=tuple(oddities),
    )


def _called(group: Group) -> str:
    """An optimizer's name in the dump: the keys that lead to it, if they are more than positions."""
    return group.label if re.search(r"[^\W\d]", group.label) else "optimizer"


def _judged(group: Group) -> Verdict | tuple[OptimizerState, tuple[ModelVariable, ...]] | None:
    """What a group is: read by its keys or names, or by position; None for a model's weights."""
    if group.tags:
        return tagged_state(group), ()
    if group.named:
        by_name = named_state(group)
        if by_name is not None:
            return by_name
    if group.says_model and not _begins_with_count(group):
        return None
    if _is_multi(group):
        state = [StateVariable(each.tensor, each.value, each.name) for each in group.elements]
        return read_state(state, (), config=group.config), ()
    hints = Hints(config=group.config, told=group.says_optimizer)
    verdict = judge([_observed(each) for each in group.elements], hints)
    if verdict is None and _is_unknown_optimizer(group):
        return _unknown(group), ()
    return verdict


def _is_multi(group: Group) -> bool:
    """A MultiOptimizer's list, whose fourth element is no scalar that only a wrapper's would be."""
    kinds = [each.tensor.dtype in INTEGRAL if each.tensor.shape == () else None for each in group.elements[:5]]
    return not own_length(kinds) and is_multi(kinds, group.elements[min(1, len(kinds) - 1)].value)


def _observed(element: Element) -> Observed:
    tensor = element.tensor
    if tensor.shape == ():
        value = element.value if isinstance(element.value, (int, float)) else None
        kind = Kind.UNKNOWN if element.plain else _kind(element)
        return Observed((), tensor.dtype, value, kind)
    return observe(tensor.shape, tensor.dtype, sample(tensor))


def _kind(element: Element) -> Kind:
    # Archive members are arrays whatever they were; only a pickle keeps the difference.
    if element.name is not None or element.tensor.key.startswith("arr_"):
        return Kind.UNKNOWN
    return Kind.SCALAR if isinstance(element.tensor.location, Inline) else Kind.ARRAY


def _is_unknown_optimizer(group: Group) -> bool:
    """A list that fits no known optimizer, but begins with a whole number as they all do, or is said to be one's."""
    return _begins_with_count(group) or group.says_optimizer


def _begins_with_count(group: Group) -> bool:
    first = group.elements[0]
    return first.tensor.shape == () and first.count is not None and first.tensor.dtype in INTEGRAL


def _unknown(group: Group) -> OptimizerState:
    first = group.elements[0]
    counted = first.tensor.shape == () and first.count is not None
    rest = group.elements[1:] if counted else group.elements
    return OptimizerState(
        name=_called(group),
        class_name=group.config.class_name if group.config else None,
        generation=group.config.generation if group.config else None,
        iterations=first.count if counted else None,
        iterations_key=first.tensor.key if counted else None,
        iterations_tensor=first.tensor if counted else None,
        hyperparameters=group.config.hyperparameters if group.config else {},
        schedule=group.config.schedule if group.config else None,
        slots=tuple(
            Slot(each.name or str(index), Role.OTHER, None, each.tensor, "order")
            for index, each in enumerate(rest, start=len(group.elements) - len(rest))
            if each.tensor.shape
        ),
        other=tuple(
            OtherVariable(each.name or each.tensor.key, each.tensor, each.value)
            for each in rest
            if not each.tensor.shape
        ),
        notes=("the list fits no optimizer that is known here: its elements are given as they are",),
    )


def _model(group: Group) -> list[ModelVariable]:
    found: list[ModelVariable] = []
    for each in group.elements:
        name = each.name.removesuffix(":0") if each.name else each.tensor.key
        found.append(ModelVariable(name if not group.label or not each.name else f"{group.label}/{name}", each.tensor))
    return found


# ------------------------------------------------------------------------------------------------ from the verdict


def _optimizer(group: Group, verdict: Verdict, name: str, variables: Sequence[ModelVariable]) -> OptimizerState:
    own, elements = group.elements[: verdict.start], group.elements[verdict.start :]
    where = _placement(verdict, variables)
    slots: list[Slot] = []
    other: list[OtherVariable] = []
    count: Element | None = None
    for one, each in zip(verdict.fit.assigned, elements, strict=True):
        if isinstance(one.kind, SlotKind):
            index = None if one.variable is None or one.variable >= len(where.indices) else where.indices[one.variable]
            path = None if index is None else variables[index].path
            # What an element is only follows from the class.
            kind, role = (one.kind.name, one.kind.role) if verdict.class_name else (each.tensor.key, Role.OTHER)
            slots.append(Slot(kind, role, path, each.tensor, where.mapping))
        elif one.kind is ITERATION:
            count = each
        else:
            other.append(OtherVariable(one.kind.name, each.tensor, each.value))
    rates = {each.name: each.value for each in other if each.name == "learning_rate"}
    config = group.config
    return OptimizerState(
        name=name,
        class_name=verdict.class_name,
        class_inferred=verdict.class_name is not None and config is None,
        class_candidates=verdict.candidates,
        generation=verdict.generations[0] if verdict.generations else None,
        iterations=None if count is None else count.count,
        iterations_key=None if count is None else count.tensor.key,
        iterations_tensor=None if count is None else count.tensor,
        hyperparameters={**(config.hyperparameters if config else {}), **rates},
        schedule=config.schedule if config else None,
        slots=tuple(slots),
        other=tuple(other),
        wrapper=loss_scale((each.tensor, each.value) for each in own) if own else None,
        notes=tuple(_notes(verdict)),
    )


def _placement(verdict: Verdict, variables: Sequence[ModelVariable]) -> Placement:
    if not variables:
        return Placement((), "order")
    return place(verdict.fit.trained, [Trained(each.path, each.tensor.shape) for each in variables])


def _notes(verdict: Verdict) -> list[str]:
    notes: list[str] = []
    layout = verdict.fit.layout.class_name
    if verdict.class_name is None and verdict.candidates:
        fitting = " or ".join(verdict.candidates)
        return [f"the list does not prove its class: it could be that of {fitting}, or of one that is not known here"]
    if verdict.class_name not in {layout, None}:
        notes.append(f"the list is laid out like {layout}'s, not like that of the {verdict.class_name} that is named")
    if len(verdict.generations) > 1:
        first, *others = (each.value for each in verdict.generations)
        notes.append(f"the list does not tell generation {first} from {', '.join(others)}")
    if verdict.lacking:
        notes.append("the list lacks the iteration count that it should begin with; its values tell what it is")
    elif verdict.generations == (Generation.KERAS1,) and verdict.fit.assigned[0].kind is not ITERATION:
        notes.append("this optimizer did not save its iteration count before Keras 2.3")
    return notes


def _order(verdict: Verdict) -> str:
    slots = [a for a in verdict.fit.assigned if isinstance(a.kind, SlotKind)]
    return "one kind after the other" if len({a.kind for a in slots[:2]}) == 1 else "kinds alternating"
