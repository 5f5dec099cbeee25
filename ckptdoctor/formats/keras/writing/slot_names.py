"""What each generation calls the elements of `optimizer_weights` in a whole-model HDF5 file.

Loaders go by the order of `weight_names` and never look at a name but to fetch its data set; people and other tools do.
The forms are those of `naming.Names`, which reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ckptdoctor.optimizers.keras.serialize import config_name
from ckptdoctor.optimizers.lists.elements import Element
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.state import Generation, ModelVariable

_TF1 = "2.2.4-tf"
"""TensorFlow 1.15 and 2.0; the former puts everything into a scope `training`."""
_EARLY_KERAS3 = ("3.0.", "3.1.", "3.2.")
"""State variables without the optimizer's name in front."""


def weight_names(
    optimizer: PlannedOptimizer,
    own: Sequence[Element],
    inner: Sequence[Element],
    variables: Sequence[ModelVariable],
    version: str | None,
) -> list[str]:
    """A name for every element, each once.

    Args:
        optimizer: The optimizer.
        own: Elements of a wrapper around it.
        inner: Elements of its own.
        variables: The target's variables, with the names that the file has for them.
        version: The file's `keras_version`.
    """
    names = _variable_names(variables)
    positions = {path: index for index, path in enumerate(optimizer.trained)}
    label = config_name(optimizer)
    found = [f"loss_scale_optimizer/{each.label}" for each in own]
    for each in inner:
        variable = each.variable
        name = "" if variable is None else names.get(variable, variable)
        position = positions.get(variable, 0) if variable is not None else 0
        found.append(_name(optimizer.generation, label, each, (name, position), version or ""))
    return _unique(found)


def _variable_names(variables: Sequence[ModelVariable]) -> Mapping[str, str]:
    """Path → the name in the file without `:0`, if no other has it; Keras 3.0 wrote a bare `kernel` for all."""
    known = {each.path: each.aliases[-1] if each.aliases else each.path for each in variables}
    often = list(known.values())
    return {path: name if often.count(name) == 1 else path for path, name in known.items()}


def _name(generation: Generation, label: str, element: Element, variable: tuple[str, int], version: str) -> str:
    name, position = variable
    scalar = element.variable is None
    if generation is Generation.KERAS3:
        front = "" if version.startswith(_EARLY_KERAS3) else f"{label}/"
        return f"{front}{element.label}" if scalar else f"{front}{name.replace('/', '_')}_{element.label}"
    if generation is Generation.KERAS2:
        return f"{element.label}:0" if scalar else f"{label}/{element.label}/{name}:0"
    if generation is Generation.OPTIMIZER_V2:
        front = f"training/{label}" if version == _TF1 else label
        if scalar:
            return f"{front}/{'iter' if element.label == 'iteration' else element.label}:0"
        return f"{front}/{name}/{element.label}:0"
    if scalar:
        front = label if element.label == "iteration" else f"training/{label}"
        return f"{front}/{'iterations' if element.label == 'iteration' else element.label}:0"
    return f"training/{label}/{element.label}_{position}:0"


def _unique(names: Sequence[str]) -> list[str]:
    """Names made unique as TensorFlow does it: `_1` before the output number."""
    taken: set[str] = set()
    found: list[str] = []
    for name in names:
        stem, colon, output = name.partition(":")
        candidate, number = name, 0
        while candidate in taken:
            number += 1
            candidate = f"{stem}_{number}{colon}{output}"
        taken.add(candidate)
        found.append(candidate)
    return found
