"""The name-based optimizers: what `tf.compat.v1.train`, tf.contrib and BERT call the variables of their state.

Sources: `_create_slots` and `_prepare` of tensorflow/python/training and tensorflow/contrib/opt of 1.15;
google-research/bert and albert, `optimization.py`.
"""

from typing import NamedTuple

from ckptdoctor.optimizers.catalogue import COPY, INITIAL, Layout, PerVariable, SlotKind
from ckptdoctor.state import Generation, Role


class Tf1Optimizer(NamedTuple):
    """A `tf.compat.v1.train` optimizer: slots are named `<variable>/<op name>[_k]`, k counted per variable.

    Attributes:
        op_name: The default `name` of the constructor, which names the slots.
        class_name: The Keras class that does the same.
        slots: Slot kinds in order of creation.
        beta_powers: The powers that it keeps for its bias correction, numbered where a graph has several optimizers.
        suffixes: Not an op name but exact last components (BERT's `adam_m`), one for each slot kind.
    """

    op_name: str
    class_name: str
    slots: tuple[SlotKind, ...]
    beta_powers: tuple[str, ...] = ()
    suffixes: tuple[str, ...] = ()


_M, _V = Role.FIRST_MOMENT, Role.SECOND_MOMENT
_POWERS = ("beta1_power", "beta2_power")
_RMS = SlotKind("rms", Role.MEAN_SQUARE, start=1.0)  # ones: RMSPropOptimizer._create_slots
_TF1_MOMENTUM = SlotKind("momentum", Role.MOMENTUM)

TF1_OPTIMIZERS: tuple[Tf1Optimizer, ...] = (
    Tf1Optimizer("Adam", "Adam", (SlotKind("m", _M), SlotKind("v", _V)), _POWERS),
    Tf1Optimizer("Momentum", "SGD", (_TF1_MOMENTUM,)),
    # Centered RMSProp creates rms, mg, momentum: `_create_slots` of tf.compat.v1.train.RMSPropOptimizer.
    Tf1Optimizer("RMSProp", "RMSprop", (_RMS, _TF1_MOMENTUM)),
    Tf1Optimizer("RMSProp", "RMSprop", (_RMS, SlotKind("mg", Role.MEAN_GRADIENT), _TF1_MOMENTUM)),
    Tf1Optimizer("Adagrad", "Adagrad", (SlotKind("accumulator", Role.ACCUMULATOR, start=INITIAL),)),
    Tf1Optimizer("ProximalAdagrad", "Adagrad", (SlotKind("accumulator", Role.ACCUMULATOR, start=INITIAL),)),
    Tf1Optimizer(
        "AdagradDA",
        "AdagradDA",
        (
            SlotKind("gradient_accumulator", Role.OTHER),
            SlotKind("gradient_squared_accumulator", Role.ACCUMULATOR, start=INITIAL),
        ),
    ),
    Tf1Optimizer(
        "Adadelta",
        "Adadelta",
        (SlotKind("accum", Role.ACCUMULATOR), SlotKind("accum_update", Role.ACCUMULATED_UPDATE)),
    ),
    Tf1Optimizer("Ftrl", "Ftrl", (SlotKind("accum", Role.ACCUMULATOR, start=INITIAL), SlotKind("linear", Role.LINEAR))),
    Tf1Optimizer("AdaMax", "Adamax", (SlotKind("m", _M), SlotKind("v", Role.INFINITY_NORM)), _POWERS[:1]),
    Tf1Optimizer("Nadam", "Nadam", (SlotKind("m", _M), SlotKind("v", _V)), _POWERS),
    Tf1Optimizer("LazyAdam", "Adam", (SlotKind("m", _M), SlotKind("v", _V)), _POWERS),
    Tf1Optimizer("AdamW", "AdamW", (SlotKind("m", _M), SlotKind("v", _V)), _POWERS),
    # tf.contrib.opt of 1.15, which names these after the class.
    Tf1Optimizer("MomentumW", "SGDW", (_TF1_MOMENTUM,)),
    Tf1Optimizer("LARSOptimizer", "LARS", (_TF1_MOMENTUM,)),
    Tf1Optimizer("AddSignOptimizer", "AddSign", (SlotKind("m", _M),)),
    Tf1Optimizer("PowerSignOptimizer", "PowerSign", (SlotKind("m", _M),)),
    # google-research/bert optimization.py: AdamWeightDecayOptimizer; LAMB in google-research/albert.
    Tf1Optimizer("adam", "AdamW", (SlotKind("m", _M), SlotKind("v", _V)), suffixes=("adam_m", "adam_v")),
    Tf1Optimizer("lamb", "Lamb", (SlotKind("m", _M), SlotKind("v", _V)), suffixes=("lamb_m", "lamb_v")),
)
"""The name-based optimizers, by the names of their slots. Those with `suffixes` keep no count of their own."""

TF1_AVERAGE = SlotKind("ExponentialMovingAverage", Role.MOVING_AVERAGE, start=COPY)


def op_name(class_name: str) -> str:
    """The default name of a class's constructor, which names its slots; the class's own where that is not known."""
    entry = _entry(class_name, centered=False)
    return class_name if entry is None else entry.op_name


def layout_of(class_name: str, *, centered: bool, momentum: bool, averaged: bool) -> Layout | None:
    """A class's slots as a layout: kind by kind, no count of its own; None if there is no such class.

    Args:
        class_name: The Keras class.
        centered: RMSprop keeps mean gradients.
        momentum: SGD is a MomentumOptimizer; GradientDescentOptimizer keeps nothing.
        averaged: There are averages beside it.
    """
    kinds: tuple[SlotKind, ...] = (TF1_AVERAGE,) if averaged else ()
    if class_name != "SGD" or momentum:
        entry = _entry(class_name, centered=centered)
        if entry is None:
            return None
        kinds = (*entry.slots, *kinds)
    return Layout(class_name, Generation.TF1, tuple(PerVariable((kind,)) for kind in kinds), counted=False)


def _entry(class_name: str, *, centered: bool) -> Tf1Optimizer | None:
    entries = [each for each in TF1_OPTIMIZERS if each.class_name == class_name and not each.suffixes]
    fitting = (each for each in entries if (Role.MEAN_GRADIENT in {kind.role for kind in each.slots}) == centered)
    return next(fitting, None)
