"""OptimizerV2, and TensorFlow 1 optimizers in object graphs: the optimizer's node links slots to their variables.

Source: `_trackable_children` and `_create_all_weights` of OptimizerV2 (keras/optimizers/optimizer_v2/optimizer_v2.py),
LossScaleOptimizer (keras/mixed_precision/loss_scale_optimizer.py), and what TensorFlow 2.0 to 2.21 wrote with them.
"""

from __future__ import annotations

from collections.abc import Callable

from ckptdoctor.formats.tensorflow.writing.site import Place, Site, add_loss_scale, count_tensor, note_unknown
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedSlot

_NADAM_DECAY = 0.004
"""OptimizerV2's Nadam keeps `schedule_decay` under the name `decay`; that of Keras 2.11 and later is built in."""
_SINCE_2_6 = "beta"
"""Ftrl's; before, it was always 0, which it still is unless somebody sets it."""
_OFF_UNLESS_SET = frozenset({"decay", "momentum"})


def build_optimizer_v2(site: Site) -> None:
    """An OptimizerV2: the count and hyperparameters are its children."""
    optimizer = site.optimizer
    name = site.name(optimizer.class_name)
    place = Place(site, site.node, site.path)
    if optimizer.wrapper is not None:
        add_loss_scale(site, place)
        place.object("base_optimizer")  # a node without children: its state is on this one
    place.variable("iter", f"{name}/iter", count_tensor(optimizer.iterations))
    unknown: list[str] = []
    for each, setting, as_given in optimizer.layout.hypers:
        value = _hyperparameter(optimizer, setting)
        if each == "learning_rate" and site.scheduled:
            continue
        if value is None:
            unknown += [each] if each != _SINCE_2_6 else []
        else:
            place.variable(each, f"{name}/{each}", site.setting(value, as_given=as_given))
    note_unknown(site, unknown)
    for each, value in optimizer.singles.items():
        place.variable(each, f"{name}/{each}", site.number(value))
    _link_slots(site, place, lambda slot: f"{name}/{site.full_name(slot.variable)}/{slot.kind.name}")


def build_tf1(site: Site) -> None:
    """A tf.compat.v1.train optimizer in a tf.train.Checkpoint: beta powers and linked slots, no count."""
    place = Place(site, site.node, site.path)
    for each, value in site.optimizer.singles.items():
        place.variable(each, each, site.number(value))
    counts: dict[str, int] = {}

    def full_name(slot: PlannedSlot) -> str:
        number = counts[slot.variable] = counts.get(slot.variable, -1) + 1
        owner = f"{site.full_name(slot.variable)}/{site.optimizer.class_name}"
        return f"{owner}_{number}" if number else owner

    _link_slots(site, place, full_name)
    site.notes.append(
        "TensorFlow 1 optimizers keep no count in an object graph: the training loop's own step is left as it was"
    )


def _link_slots(site: Site, place: Place, full_name: Callable[[PlannedSlot], str]) -> None:
    """Slots that the optimizer's node links to their variables; they are nobody's children."""
    for slot in site.optimizer.slots:
        variable = site.trained_node(slot.variable)
        node = site.editor.take(place.links.get((variable, slot.kind.name)))
        where = (site.path, slot.kind.name)
        site.editor.set_slot(node, full_name(slot), variable, where, site.slot(slot))
        site.editor.link(site.node, variable, slot.kind.name, node)


def _hyperparameter(optimizer: PlannedOptimizer, name: str) -> float | None:
    value = optimizer.hyperparameters.get(name)
    if value is None and (optimizer.class_name, name) == ("Nadam", "decay"):
        value = optimizer.hyperparameters.get("schedule_decay", _NADAM_DECAY)
    if isinstance(value, (int, float)):
        return value
    return 0.0 if value is None and name in _OFF_UNLESS_SET and name not in optimizer.settings.flags else None
