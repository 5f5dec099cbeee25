"""An optimizer's list in the tree of saved objects: the edit of a `.keras` archive's weights, or of `.weights.h5`."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ckptdoctor.containers.hdf5.contract import H5Reader
from ckptdoctor.containers.hdf5.editing import Edit, NewDataset
from ckptdoctor.formats.keras.optimizer_groups import OPTIMIZER, VARS
from ckptdoctor.formats.keras.tree import INNER
from ckptdoctor.optimizers.keras.serialize import config_name
from ckptdoctor.optimizers.lists.elements import Element, elements, wrapper_elements
from ckptdoctor.optimizers.planned import PlannedOptimizer


class Place(NamedTuple):
    """Where an optimizer's list goes in the tree of saved objects.

    Attributes:
        group: `optimizer`, or the attribute of the model that has it.
        labelled: Groups carry their objects' names.
        label: The name that the group has.
    """

    group: str
    labelled: bool
    label: str | None


def place_in(files: Iterable[H5Reader], optimizer: PlannedOptimizer) -> Place:
    """The place of an optimizer in a target, whose tree lies in these files."""
    own = f"{optimizer.name}/{VARS}"
    group, labelled, label = OPTIMIZER, False, None
    for file in files:
        if optimizer.name != OPTIMIZER and file.has_group(own):
            group, label = optimizer.name, file.text(own, "name")
        labelled = labelled or _is_labelled(file)
    return Place(group, labelled, label)


def _is_labelled(file: H5Reader) -> bool:
    """Whether groups carry their objects' names, as Keras 3.6 and later write them."""
    return any(
        path.rpartition("/")[2] == VARS and file.has_attribute(path, "name")
        for path, _, _ in file.walk()
        if path.partition("/")[0] != OPTIMIZER
    )


def tree_edit(optimizer: PlannedOptimizer, place: Place) -> Edit:
    """`vars/0…` below the optimizer's group; of a wrapper the inner list once more, as Keras saves it."""
    own, inner = wrapper_elements(optimizer), elements(optimizer)
    label, base = config_name(optimizer), place.group
    lists: list[tuple[str, str, Sequence[Element]]] = [(f"{base}/{VARS}", place.label or label, (*own, *inner))]
    if optimizer.wrapper is not None:
        lists = [
            (f"{base}/{VARS}", place.label or "loss_scale_optimizer", (*own, *inner)),
            (f"{base}/{INNER}/{VARS}", label, inner),
        ]
    return Edit(
        delete=(base, f"{base}\\{INNER}"),  # as Windows writes it
        datasets=tuple(
            new_dataset(f"{group}/{index}", each) for group, _, items in lists for index, each in enumerate(items)
        ),
        texts={(group, "name"): name for group, name, _ in lists} if place.labelled else {},
    )


def by_name(group: str, first: str) -> str:
    """How an optimizer in an attribute of the model gets its state back; `first`: what comes before it is built."""
    attribute = f"model.{group.replace('/', '.')}"
    return (
        f"to load it: {first}, call {attribute}.build(variables) with those that it trains, then "
        "model.load_weights(path); an optimizer in an attribute that is not built skips its state"
    )


def by_compiling(class_name: str | None) -> str:
    """How the optimizer of a compiled model gets its state back from `.weights.h5`."""
    return (
        f"the file holds no configuration: compile the model with the same {class_name or 'optimizer'}, call "
        "model.optimizer.build(model.trainable_variables), then model.load_weights(path); without the build Keras "
        "skips the state"
    )


def new_dataset(path: str, element: Element, *, marked: bool = True) -> NewDataset:
    """An element of the list as a data set."""
    return NewDataset(path, element.dtype, element.shape, element.content, element.factor, marked)
