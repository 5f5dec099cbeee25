"""Dumps that kept names: `{v.name: v.numpy() for v in optimizer.variables}`, and dicts of slots by their kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ckptdoctor.formats.dumps.structure import Element, Group
from ckptdoctor.optimizers.catalogue import LAYOUTS
from ckptdoctor.optimizers.inference import Inference, by_slots, class_of_name
from ckptdoctor.optimizers.keras.naming import Names, SlotName, generation_of, plain, role_of, scalar_name
from ckptdoctor.state import Generation, ModelVariable, OptimizerState, OtherVariable, Slot

_GENERATIONS = (Generation.OPTIMIZER_V2, Generation.KERAS2, Generation.KERAS3)
"""Those whose names say what they name."""


def named_state(group: Group) -> tuple[OptimizerState, tuple[ModelVariable, ...]] | None:
    """Reads a dict from names to arrays; None if its names are not an optimizer's.

    Returns:
        The optimizer, and what else is in the dict: the model's variables.
    """
    generation = _generation(group.elements)
    if generation is None:
        return None
    scalars = {id(each): scalar for each in group.elements if (scalar := _scalar(each)) is not None}
    arrays = [each for each in group.elements if id(each) not in scalars]
    slots = [each for each in arrays if _slot_name(each, Names({}), generation) is not None]
    if not slots and not any(name == "iteration" for name in scalars.values()):
        return None
    chosen = {id(each) for each in slots}
    model = [each for each in arrays if id(each) not in chosen]
    variables = tuple(ModelVariable(plain(each.name or ""), each.tensor) for each in model)
    names = Names({each.path: each.aliases for each in variables})
    parsed = [(each, name) for each in slots if (name := _slot_name(each, names, generation)) is not None]
    owner, _ = Counter(name.optimizer for _, name in parsed).most_common(1)[0] if parsed else ("", 0)
    singles = {name for name in scalars.values() if name != "iteration"}
    hint = (group.config.class_name if group.config else None) or class_of_name(owner)
    inferred = by_slots(generation, {name.slot for _, name in parsed}, hint=hint) if parsed else Inference(hint)
    count = next((each for each in group.elements if scalars.get(id(each)) == "iteration"), None)
    state = OptimizerState(
        name=group.label or owner or "optimizer",
        class_name=inferred.class_name,
        class_inferred=group.config is None and inferred.class_name is not None,
        class_candidates=() if hint else inferred.candidates,
        generation=generation,
        iterations=count.count if count else None,
        iterations_key=count.tensor.key if count else None,
        iterations_tensor=count.tensor if count else None,
        hyperparameters={**(group.config.hyperparameters if group.config else {}), **_rate(group, scalars)},
        schedule=group.config.schedule if group.config else None,
        slots=tuple(
            Slot(
                name.slot,
                role_of(name.slot, generation, inferred.class_name),
                name.variable if name.known else None,
                each.tensor,
                "name",
            )
            for each, name in parsed
        ),
        other=tuple(
            OtherVariable(scalars[id(each)], each.tensor, each.value)
            for each in group.elements
            if scalars.get(id(each)) in singles
        ),
    )
    return state, variables


def _rate(group: Group, scalars: Mapping[int, str]) -> dict[str, object]:
    """The learning rate, which Keras 3 keeps as a variable."""
    rates = [each.value for each in group.elements if scalars.get(id(each)) == "learning_rate"]
    return {"learning_rate": rates[0]} if rates else {}


def _scalar(element: Element) -> str | None:
    if element.name is None or element.tensor.shape or element.value is None:
        return None
    return scalar_name(element.name)


def _slot_name(element: Element, names: Names, generation: Generation) -> SlotName | None:
    """What a name says, if the slot in it is one that the generation has."""
    parsed = names.parse(element.name or "", generation)
    if parsed is None or role_of(parsed.slot, generation) is role_of("", generation):
        return None
    return parsed


def _generation(elements: Sequence[Element]) -> Generation | None:
    """The generation that the names are of: by the count's name, else the one that reads most of them."""
    names = [each.name or "" for each in elements]
    by_count = generation_of(names)
    if by_count in _GENERATIONS:
        return by_count
    empty = Names({})
    read = {
        each: sum(_slot_name(element, empty, each) is not None for element in elements if element.tensor.shape)
        for each in _GENERATIONS
    }
    best = max(read, key=lambda each: read[each])
    return best if read[best] else None


def tagged_state(group: Group) -> OptimizerState:
    """Reads a dict of slots by kind, made by hand: `{"m": […], "v": […], "t": 7}`."""
    kinds = dict.fromkeys(tag for tag in group.tags if tag is not None)
    generations = [
        each
        for each in Generation
        if set(kinds) <= {kind.name for layout in LAYOUTS if layout.generation is each for kind in layout.kinds}
    ]
    inferences = [by_slots(each, kinds) for each in generations]
    names = dict.fromkeys(name for each in inferences for name in (each.class_name, *each.candidates) if name)
    recorded = group.config.class_name if group.config else None
    class_name = recorded or next(iter(names), None)
    generation = (group.config.generation if group.config else None) or (
        generations[0] if len(generations) == 1 else None
    )
    count = next((each for each, tag in zip(group.elements, group.tags, strict=True) if tag is None), None)
    fitting = generation or next(iter(generations), None)
    return OptimizerState(
        name=group.label or "optimizer",
        class_name=class_name,
        class_inferred=recorded is None and class_name is not None,
        class_candidates=() if recorded else tuple(each for each in names if each != class_name),
        generation=generation,
        iterations=count.count if count else None,
        iterations_key=count.tensor.key if count else None,
        iterations_tensor=count.tensor if count else None,
        hyperparameters=group.config.hyperparameters if group.config else {},
        schedule=group.config.schedule if group.config else None,
        slots=tuple(
            Slot(tag, role_of(tag, fitting, class_name), None, each.tensor, "order")
            for each, tag in zip(group.elements, group.tags, strict=True)
            if tag is not None
        ),
    )
