"""Which groups of the `.keras` layout are optimizers: `optimizer`, and those in attributes of the model itself.

A model with an optimizer for each of its parts (`self.g_optimizer = …`, as in a GAN) has them saved like layers, and
only what is in them tells: `optimizer.variables`, numbered, the count first (`Optimizer.save_own_variables`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from functools import cache

from ckptdoctor.containers.tensors.dtypes import INTEGRAL
from ckptdoctor.formats.keras.layers import snake_case
from ckptdoctor.formats.keras.nodes import CONTAINERS, split
from ckptdoctor.optimizers.catalogue import classes
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, ModelVariable

VARS = "vars"
OPTIMIZER = "optimizer"
MOST = 64
"""Optimizers in attributes that are read; no model has as many."""
_SPEAKING = re.compile(r"(^|_)(optimizer|optim|opt)(_\d+)?$")


@cache
def _optimizer_names() -> frozenset[str]:
    """What Keras calls optimizers that nobody named: the class in snake case (`rm_sprop`)."""
    known = (each for generation in (Generation.KERAS2, Generation.KERAS3) for each in classes(generation))
    return frozenset(snake_case(each) for each in (*known, "LossScaleOptimizer", "MultiOptimizer"))


def optimizer_groups(groups: Mapping[str, Mapping[str, TensorRef]], labels: Mapping[str, str]) -> list[str]:
    """Paths of the optimizers in attributes of the model; `optimizer` itself is not among them.

    Args:
        groups: Path of each object's variables → the variables by name.
        labels: Path → the object's name, which Keras writes since 3.6.
    """
    found: dict[str, None] = {}
    for path, variables in groups.items():
        if len(found) < MOST and is_called_one(path, labels.get(path)) and _holds_state(variables, rated=bool(labels)):
            name = path.removesuffix(f"/{VARS}")
            if owner(name, found) is None:  # what a LossScaleOptimizer holds is a second copy
                found[name] = None
    return list(found)


def is_called_one(path: str, label: str | None) -> bool:
    """Whether a group of variables is called like an optimizer in an attribute: by the attribute or by its own name."""
    parts = path.split("/")
    if len(parts) < 2 or parts[-1] != VARS or parts[0] == OPTIMIZER or CONTAINERS[0] in parts:  # noqa: PLR2004
        return False
    return bool(_SPEAKING.search(parts[-2].lower())) or split(label or "")[0] in _optimizer_names()


def owner(path: str, optimizers: Container[str]) -> str | None:
    """The optimizer that a path lies below."""
    parts = path.split("/")
    above = ("/".join(parts[:end]) for end in range(1, len(parts)))
    return next((each for each in above if each in optimizers), None)


def _holds_state(variables: Mapping[str, TensorRef], *, rated: bool) -> bool:
    """Whether a group begins with a count, in Keras 3 with a learning rate after it, and has no gaps."""
    count, rate = variables.get("0"), variables.get("1")
    if count is None or count.shape != () or count.dtype not in INTEGRAL:
        return False
    if rated and (rate is None or rate.shape != () or rate.dtype in INTEGRAL):
        return False
    return variables.keys() == {str(number) for number in range(len(variables))}


def own_orders(variables: Sequence[ModelVariable], name: str) -> tuple[tuple[ModelVariable, ...], ...]:
    """What an optimizer in an attribute may train: one of the sub-models.

    The one that the attribute speaks of comes first (`g_optimizer` of `gen`), then those that no other one equals in
    its shapes: Keras 2 does not write what the attributes of sub-models are called.
    """
    trained = [each for each in variables if each.trainable is not False]
    spoken: dict[str, list[ModelVariable]] = {}
    named: dict[str, list[ModelVariable]] = {}
    for each in trained:
        spoken.setdefault(each.tensor.key.partition("/")[0], []).append(each)
        named.setdefault(each.path.partition("/")[0], []).append(each)
    alike = [root for root in spoken if resembles(root.lower(), name.rpartition("/")[2].lower())]
    best = max(alike, key=len, default=None)
    shapes = {root: tuple(each.tensor.shape for each in inside) for root, inside in named.items()}
    often = Counter(shapes.values())
    lone = [tuple(inside) for root, inside in named.items() if often[shapes[root]] == 1]
    return (*([] if best is None else [tuple(spoken[best])]), *lone[:MOST])


def resembles(root: str, own: str) -> bool:
    """Whether an optimizer's attribute speaks of a model's: `gen_opt`, `opt_g`, `generator_optimizer`."""
    words = [word for word in own.replace("-", "_").split("_") if word not in {"optimizer", "opt", "optim", ""}]
    return root in own or any(root.startswith(word) or word.startswith(root) for word in words)
