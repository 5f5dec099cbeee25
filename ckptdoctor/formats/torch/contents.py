"""What lies in a file of torch.save: models, optimizers, schedulers, scalers, counters, under any keys, at any depth.

Nothing but a convention says where they are, so they are told by what they look like: an optimizer's state_dict has
`state` and `param_groups`, a scheduler's `last_epoch`, a model's names and tensors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from ckptdoctor.containers.pickles.reading import Key, Node, Thing
from ckptdoctor.optimizers.torch.warmups import Warmup
from ckptdoctor.references import TensorRef

Fields: TypeAlias = Mapping[Key, Node]

_MAX_DEPTH = 12
_COUNTERS = (
    r"(?i)(?:.*_)?(?:epochs?|steps?|iter(?:ation)?s?|iters?|batch(?:_idx|es)?|n_averaged|samples|updates|timesteps)"
    r"(?:_.*)?\Z"
)
_RNG = re.compile(r"rng|random|seed_state|cuda_state", re.IGNORECASE)
_SCALER = frozenset({"scale", "growth_factor", "backoff_factor"})
_AVERAGED = r"(?i)ema|average|swa|shadow"
_TRAINED = "current_model_state"
"""What is trained, in a checkpoint of Lightning's WeightAveraging; `state_dict` is the average then."""
_SCHEDULER_KEYS = frozenset(
    {"_step_count", "base_lrs", "_last_lr", "num_bad_epochs", "_schedulers", "last_batch_iteration"}
)


class Model:
    """A dictionary of names and tensors.

    Attributes:
        label: The keys that lead to it.
        tensors: By their names.
        averaged: It is an average of the model's weights beside it.
        sorted_names: Its order is that of its names, not of the model.
    """

    def __init__(
        self, label: str, tensors: dict[str, TensorRef], *, averaged: bool = False, sorted_names: bool = False
    ) -> None:
        self.label, self.tensors, self.averaged, self.sorted_names = label, tensors, averaged, sorted_names


class Contents:
    """Everything that was found.

    Attributes:
        models: Models, in the file's order.
        optimizers: Keys that lead to each optimizer → its state_dict.
        schedulers: The same of schedulers.
        scalers: The same of gradient scalers; an empty one is a scaler that was off.
        rng: Keys that lead to states of random numbers.
        counters: Counts at the top, or beside optimizers.
        others: Tensors that are in none of these.
        empty: Keys of an optimizer that saved nothing.
        whole: Classes of modules and optimizers that were pickled whole.
        warmup: The function of a LambdaLR, where a trainer's own file tells it.
    """

    def __init__(self) -> None:
        self.models: list[Model] = []
        self.optimizers: dict[str, Fields] = {}
        self.schedulers: dict[str, Fields] = {}
        self.scalers: dict[str, Fields] = {}
        self.rng: list[str] = []
        self.counters: dict[str, int] = {}
        self.others: list[TensorRef] = []
        self.empty: list[str] = []
        self.whole: list[str] = []
        self.warmup: Warmup | None = None


def contents(root: Node) -> Contents:
    """Finds what a file's structure holds."""
    found = Contents()
    _visit(root, "", found, 0)
    if isinstance(root, dict) and _TRAINED in root:
        for each in found.models:
            each.averaged = each.label != _TRAINED
    return found


def add(root: Node, label: str, found: Contents) -> None:
    """Adds what a part of an artifact holds, under the name that leads to it."""
    _visit(root, label, found, 0)


def fields_of(node: Node) -> Fields | None:
    """A dictionary's items, or an object's attributes."""
    if isinstance(node, Thing):
        return node.fields
    return node if isinstance(node, dict) else None


def is_optimizer(fields: Fields) -> bool:
    """Whether it is an optimizer's state_dict, or an optimizer itself."""
    if "hypers" in fields and isinstance(fields.get("state"), list):  # fastai's
        return True
    groups = fields.get("param_groups")
    if (
        not isinstance(groups, (list, tuple))
        or isinstance(groups, TensorRef)
        or not {"state", "fast_state"} & fields.keys()
    ):
        return False
    return all(isinstance(each, dict) and "params" in each for each in groups)


def is_random(name: str) -> bool:
    """Whether a key says that states of random numbers are below it."""
    return bool(_RNG.search(name))


def is_scheduler(fields: Fields) -> bool:
    """Whether it is a scheduler's state_dict."""
    return "param_groups" not in fields and (
        ("last_epoch" in fields and bool(_SCHEDULER_KEYS & set(map(str, fields))))
        or "last_batch_iteration" in fields
        or fields.keys() == {"_schedulers", "_last_lr"}  # ChainedScheduler counts in its parts alone
        or ("base_values" in fields and fields.get("param_name") == "lr")  # mmengine's
    )


def _visit(node: Node, label: str, found: Contents, depth: int) -> None:
    if isinstance(node, TensorRef):
        _tensor(node, label, found)
        return
    fields = fields_of(node)
    if fields is None:
        if isinstance(node, (list, tuple)) and depth < _MAX_DEPTH:
            for number, each in enumerate(node):
                _visit(each, _joined(label, str(number)), found, depth + 1)
        elif depth <= 1:
            _counter(label, node, found)
        return
    if _taken(node, fields, label, found):
        return
    loose = {written(name): each for name, each in fields.items() if isinstance(each, TensorRef)}
    together = sum("float" in each.dtype for each in loose.values()) > 1
    if together:  # a model's, with other things among them
        found.models.append(Model(label, loose))
    for name, each in fields.items() if depth < _MAX_DEPTH else ():
        where = _joined(label, written(name))
        if isinstance(each, (int, float)) and not isinstance(each, bool):
            _counter(where, each, found)
        elif not (isinstance(each, TensorRef) and together):
            _visit(each, where, found, depth + 1)


def _taken(node: Node, fields: Fields, label: str, found: Contents) -> bool:
    """Whether a dictionary or an object is one of the things that are looked for."""
    last = label.rpartition("/")[2]
    if is_optimizer(fields):
        found.optimizers[label] = fields
        found.whole += [node.name] if isinstance(node, Thing) else []
    elif is_scheduler(fields):
        found.schedulers[label] = fields
    elif {str(name) for name in fields} >= _SCALER or (not fields and "scaler" in last.lower()):
        found.scalers[label] = fields
    elif _RNG.search(last):
        found.rng.append(label)
    elif isinstance(node, Thing) and "_parameters" in fields:
        found.whole.append(node.name)
        found.models.append(Model(label, dict(_modules(fields, "", 0))))
    elif is_model(fields) and fields.keys() != {"n_averaged"}:
        tensors = {str(name): each for name, each in fields.items() if isinstance(each, TensorRef)}
        averaged = "n_averaged" in tensors or bool(re.search(_AVERAGED, last))
        found.models.append(Model(label, tensors, averaged=averaged))
    elif "optim" in last.lower() and not fields:
        found.empty.append(label)
    else:
        return False
    return True


def _tensor(ref: TensorRef, label: str, found: Contents) -> None:
    if _RNG.search(label.rpartition("/")[2]) and ref.dtype == "uint8":
        found.rng.append(label)
    else:
        found.others.append(ref)


def written(name: Key) -> str:
    """A key as it stands in the names of what it leads to."""
    return name if isinstance(name, str) else repr(name)


def _joined(label: str, name: str) -> str:
    return f"{label}/{name}" if label else name


def _counter(label: str, value: Node, found: Contents) -> None:
    name = label.rpartition("/")[2]
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and isinstance(value, int) and (re.match(_COUNTERS, name) or name.isdecimal()) and abs(value) < 1 << 63:
        found.counters.setdefault(label, value)


def is_model(fields: Fields) -> bool:
    """Whether most of a dictionary are tensors under names."""
    tensors = [each for each in fields.values() if isinstance(each, TensorRef)]
    named = all(isinstance(name, str) for name in fields)
    plain = [
        each for each in fields.values() if not isinstance(each, (dict, list, Thing)) or isinstance(each, TensorRef)
    ]
    return named and bool(tensors) and len(tensors) * 2 > len(fields) and len(plain) * 10 >= len(fields) * 9


def _modules(fields: Fields, prefix: str, depth: int) -> Iterator[tuple[str, TensorRef]]:
    """Parameters and buffers of a module that was pickled whole, under the names that its state_dict would have."""
    if depth > _MAX_DEPTH * 2:
        return
    for kind in ("_parameters", "_buffers"):
        held = fields.get(kind)
        for name, each in held.items() if isinstance(held, dict) else ():
            if isinstance(each, TensorRef):
                yield f"{prefix}{written(name)}", each
    below = fields.get("_modules")
    for name, each in below.items() if isinstance(below, dict) else ():
        inner = fields_of(each)
        if inner is not None:
            yield from _modules(inner, f"{prefix}{written(name)}.", depth + 1)
