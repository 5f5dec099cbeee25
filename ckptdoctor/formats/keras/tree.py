"""The layout of `.keras` archives and `.weights.h5` files: a tree of saved objects, each with its `vars`.

Where the tensors lie (one HDF5 file, several shards, an npz archive) does not matter here: `Store` is what each of them
answers with, and `read_store` finds the model and the optimizer in it.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ckptdoctor.containers.hdf5.contract import H5Reader
from ckptdoctor.formats.keras.model import Model, read_tree
from ckptdoctor.formats.keras.nodes import SavedNode
from ckptdoctor.formats.keras.optimizer_groups import (
    OPTIMIZER,
    VARS,
    is_called_one,
    optimizer_groups,
    own_orders,
    owner,
)
from ckptdoctor.optimizers.dialects import of_keras
from ckptdoctor.optimizers.keras.config import OptimizerConfig
from ckptdoctor.optimizers.lists.state import StateVariable, read_state
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, Oddity, OptimizerState, Scalar, Wrapper

_MOST_DIGITS = 10

INNER = "inner_optimizer"
METRICS = "metrics"
MARKERS = frozenset({"layers", "_layer_checkpoint_dependencies", VARS, OPTIMIZER, METRICS})
"""What the root of this layout holds; one is enough."""


class Store:
    """Everything that a saved model's weights hold.

    Attributes:
        groups: Path of each object's variables (`layers/dense/vars`) → the variables by name.
        labels: Path → the object's name, which Keras writes since 3.6.
        values: Key of each tensor of one element → its value.
        oddities: What was noticed.
    """

    def __init__(self) -> None:
        self.groups: dict[str, dict[str, TensorRef]] = {}
        self.labels: dict[str, str] = {}
        self.values: dict[str, Scalar | None] = {}
        self.oddities: list[Oddity] = []


def load_h5(file: H5Reader, store: Store) -> None:
    """Adds an HDF5 file's groups to a store; a group that an earlier shard began is continued."""
    for stored, _, datasets in file.walk():
        path = portable(stored)
        name = path.rpartition("/")[2]
        if name != VARS and not datasets:
            continue
        group = store.groups.setdefault(path, {})
        label = file.text(stored, "name") if name == VARS else None
        if label:
            store.labels[path] = label
        for dataset in datasets:
            tensor = file.tensor(f"{stored}/{dataset}" if stored else dataset)
            if tensor is None:
                continue
            if dataset in group:
                store.oddities.append(Oddity("X004", f"{tensor.key} is in two shards; the first is read"))
                continue
            group[dataset] = tensor
            if tensor.size == 1 and (path.split("/")[0] in {OPTIMIZER, METRICS} or is_called_one(path, label)):
                store.values[tensor.key] = file.scalar(tensor)
    store.oddities.extend(each for each in file.oddities if each not in store.oddities)


def portable(path: str) -> str:
    """A path of objects as it is everywhere but on Windows, where `os.path.join` puts backslashes into it."""
    return path.replace("\\", "/")


def _number(name: str) -> int | None:
    """The number that Keras wrote as a plain decimal; `03` or 400 digits are somebody else's, and texts."""
    if not (name.isascii() and name.isdecimal() and len(name) < _MOST_DIGITS):
        return None
    return int(name) if str(int(name)) == name else None


def in_order(variables: Mapping[str, TensorRef]) -> list[TensorRef]:
    """A group's variables by number (HDF5 sorts 10 before 2), then those whose names are none."""

    def place(name: str) -> tuple[int, int, str]:
        number = _number(name)
        return (1, 0, name) if number is None else (0, number, "")

    return [variables[name] for name in sorted(variables, key=place)]


class Contents(NamedTuple):
    """What a store holds: the model, the optimizers, and tensors that are neither."""

    model: Model
    optimizers: tuple[OptimizerState, ...]
    others: tuple[TensorRef, ...]


def read_store(
    store: Store, *, config: object = None, optimizer: OptimizerConfig | None = None, version: str | None = None
) -> Contents:
    """Finds the model and the optimizer in a store.

    Args:
        store: What the weights file or files hold.
        config: `config.json`, parsed; None where there is none.
        optimizer: The optimizer's configuration, where the artifact has one.
        version: The Keras version, where the artifact tells.
    """
    generation = of_keras(version) or _generation(store)
    root = SavedNode()
    others: list[TensorRef] = []
    attributes = dict.fromkeys(optimizer_groups(store.groups, store.labels))
    for path, variables in store.groups.items():
        first = path.split("/")[0]
        own = owner(path, attributes)
        if path == f"{OPTIMIZER}/{VARS}":
            others.extend(tensor for name, tensor in variables.items() if _number(name) is None)
        elif own is not None and path == f"{own}/{VARS}":
            continue
        elif own is not None or first in {OPTIMIZER, METRICS}:
            others.extend(in_order(variables))  # below an optimizer: what a LossScaleOptimizer writes a second time
        else:
            _insert(root, path, variables, store.labels.get(path))
    model = read_tree(root, config, generation)

    def read(variables: Mapping[str, TensorRef], name: str, of: OptimizerConfig | None = None) -> OptimizerState:
        state = [StateVariable(each, store.values.get(each.key)) for each in in_order(variables)]
        own = own_orders(model.variables, name) if name != OPTIMIZER else ()
        orders = (*own, *model.orders)
        kind = _of_state(state, generation)
        return _wrapped(
            store,
            read_state(
                state, model.variables, config=of, generation=kind, version=version, orders=orders, loose=model.loose,
                name=name,
            ),
        )  # fmt: skip

    optimizers: list[OptimizerState] = []
    numbered = _numbered(store)
    if numbered or optimizer is not None:
        optimizers.append(read(numbered, OPTIMIZER, optimizer))
    optimizers.extend(_of_its_own(read(store.groups[f"{each}/{VARS}"], each)) for each in attributes)
    return Contents(model, tuple(optimizers), tuple(others))


def _of_its_own(optimizer: OptimizerState) -> OptimizerState:
    """An optimizer in an attribute trains what the program gives to it: nothing else lacks its slots."""
    owners = {slot.variable for slot in optimizer.slots}
    lacking = tuple(each for each in optimizer.missing if each.variable is not None and each.variable in owners)
    return optimizer._replace(missing=lacking)


def _wrapped(store: Store, optimizer: OptimizerState) -> OptimizerState:
    """Keras 2 writes the inner optimizer's list twice; that there is an inner one tells of the wrapper."""
    if optimizer.wrapper is None and f"{optimizer.name}/{INNER}/{VARS}" in store.groups:
        return optimizer._replace(wrapper=Wrapper("LossScaleOptimizer"))
    return optimizer


def _numbered(store: Store) -> Mapping[str, TensorRef]:
    """`optimizer/vars`, without what is not one of its numbered variables."""
    variables = store.groups.get(f"{OPTIMIZER}/{VARS}", {})
    strange = {name for name in variables if _number(name) is None}
    if strange:
        store.oddities.append(
            Oddity("I007", f"optimizer/vars holds {len(strange)} data sets that are no numbered variables")
        )
    numbered = {name: tensor for name, tensor in variables.items() if name not in strange}
    if numbered and len(numbered) != 1 + max(int(name) for name in numbered):
        store.oddities.append(Oddity("I005", "optimizer/vars has gaps in its numbers: variables are missing"))
    return numbered


def _generation(store: Store) -> Generation | None:
    """Which implementation wrote a file that names no version: only TensorFlow's Keras saves metrics."""
    if any(path.split("/")[0] in {METRICS, "_layer_checkpoint_dependencies"} for path in store.groups):
        return Generation.KERAS2
    return Generation.KERAS3 if store.labels else None


def _of_state(state: Iterable[StateVariable], generation: Generation | None) -> Generation | None:
    """The optimizer's generation: legacy optimizers are never in this layout, and Keras 3 keeps the learning rate."""
    if generation is not None:
        return generation
    first = list(state)[:2]
    if len(first) == 2 and first[0].is_count and first[1].is_scalar and not first[1].is_count:  # noqa: PLR2004
        return Generation.KERAS3
    return Generation.KERAS2


def _insert(root: SavedNode, path: str, variables: Mapping[str, TensorRef], label: str | None) -> None:
    """Hangs a group's variables into the tree of saved objects."""
    node = root
    parts = path.split("/")
    for part in parts[:-1] if parts[-1] == VARS else parts:
        if part:
            node = node.children.setdefault(part, SavedNode(part))
    node.is_object = node.is_object or parts[-1] == VARS
    node.own.extend(in_order(variables))
    node.label = label or node.label
