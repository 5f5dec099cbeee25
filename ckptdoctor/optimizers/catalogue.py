"""The catalogue: which state variables each optimizer class keeps, in which order, by generation.

A table of facts. A new optimizer is one entry here and every format knows it. Each layout lists the blocks of state
that follow the generation's common head (`HEADS`); the order is that of `optimizer.variables` / `get_weights()`, and so
that of HDF5 `weight_names`, of `optimizer/vars/N` and of `_variables/N`.

Sources, by generation: `keras.optimizers` 1.2.2 to 2.3.1 (`get_updates`); `tf.keras.optimizers` 2.0 to 2.10
(`_create_slots`); `keras.optimizers` 2.11 to 2.15 and `tf_keras` (`build`); `keras.src.optimizers` 3.0 to 3.15
(`build`). name_based.py has those of TensorFlow 1. tests/real/test_catalogue_real.py holds the table against the
classes themselves.
"""

from enum import Enum
from functools import cache
from typing import NamedTuple, TypeAlias

from ckptdoctor.state import Generation, Role


class Extent(Enum):
    """The shape of a slot, relative to its variable's."""

    VARIABLE = "variable"
    ROWS = "rows"
    """All but the last dimension (Adafactor's r)."""
    COLUMNS = "columns"
    """All but the last but one dimension (Adafactor's c)."""
    PLACEHOLDER = "placeholder"
    """A dummy of shape (1,), kept for variables of any shape (standalone Keras' vhat without amsgrad)."""
    OWN = "own"
    """A shape of its own, which says nothing of the variable's."""
    SCALAR = "scalar"
    """One number for the whole variable (NovoGrad's v)."""


class Below2D(Enum):
    """What a factored slot is for variables of fewer than two dimensions."""

    ABSENT = "absent"
    SCALAR = "scalar"


COPY = "variable"
"""The start of a slot that begins as a copy of its variable."""


class SlotKind(NamedTuple):
    """One kind of slot variable.

    Attributes:
        name: The tag that this generation puts into variable names (`m`, `momentum`).
        role: The same in one vocabulary.
        attribute: The optimizer's list attribute in trackable object graphs (`_momentums`); "" if there is none.
        when: The configuration flag that creates it: `amsgrad`, `momentum`, `centered`; "" = always.
        extent: Its shape, relative to its variable's.
        below_2d: For factored extents: what variables of fewer than two dimensions get.
        only: A condition on the variable: "adam_branch" (what Muon trains with Adam: all but matrices), or
            "adam_branch_3d" (all but matrices and rank 3); "" = every variable.
        start: What it holds before the first step: a number, the setting that says it, or `COPY`.
    """

    name: str
    role: Role
    attribute: str = ""
    when: str = ""
    extent: Extent = Extent.VARIABLE
    below_2d: Below2D = Below2D.SCALAR
    only: str = ""
    start: float | str = 0.0


class PerVariable(NamedTuple):
    """For each trainable variable in turn, one variable of each of these kinds (interleaved)."""

    kinds: tuple[SlotKind, ...]


class Single(NamedTuple):
    """One scalar for the whole optimizer.

    Attributes:
        name: Its name, as the generation writes it.
        attribute: Its attribute in trackable object graphs.
    """

    name: str
    attribute: str = ""


Block: TypeAlias = PerVariable | Single


class Hyper(NamedTuple):
    """A setting that OptimizerV2 keeps as a variable (`_set_hyper`), which mostly has the setting's name.

    Attributes:
        name: The variable.
        setting: What the configuration calls it.
        as_given: The class leaves the argument as it is: `True` becomes a bool, 100 an int32, and not a float.
    """

    name: str
    setting: str
    as_given: bool = False


class Layout(NamedTuple):
    """The state of one optimizer class in one generation.

    Attributes:
        class_name: The Keras class.
        generation: The generation.
        blocks: What follows the generation's head.
        counted: The list begins with the iteration count.
        versions: Which versions of the framework write this variant; "" = all of the generation's.
        attributes: Attributes of the object that are not in its list of variables, but tell the class.
        wrapped: The class keeps this only inside a LossScaleOptimizer.
        early: Of Keras 3.0 to 3.9, with `EARLY_KERAS3_HEAD`.
        hypers: Settings that OptimizerV2 keeps as variables.
    """

    class_name: str
    generation: Generation
    blocks: tuple[Block, ...]
    counted: bool = True
    versions: str = ""
    attributes: tuple[str, ...] = ()
    wrapped: bool = False
    early: bool = False
    hypers: tuple[Hyper, ...] = (Hyper("decay", "decay"), Hyper("learning_rate", "learning_rate"))

    def __hash__(self) -> int:
        return hash((self.class_name, self.versions, self.wrapped, self.early))  # all of it is a hundred texts

    @property
    def kinds(self) -> tuple[SlotKind, ...]:
        """Every slot kind, in order."""
        return tuple(kind for block in self.blocks if isinstance(block, PerVariable) for kind in block.kinds)


EMA = SlotKind("average", Role.MOVING_AVERAGE, "_model_variables_moving_average", "use_ema", start=COPY)
ACCUMULATION = SlotKind(
    "gradient_accumulator", Role.GRADIENT_ACCUMULATOR, "_accumulated_gradients", "gradient_accumulation"
)

HEADS: dict[Generation, tuple[Block, ...]] = {
    Generation.TF1: (),
    Generation.KERAS1: (),
    Generation.TORCH: (),
    Generation.OPTAX: (),
    Generation.OPTIMIZER_V2: (),
    Generation.KERAS2: (PerVariable((EMA,)),),
    # `learning_rate` comes before these, unless it is a schedule: the flag "schedule".
    Generation.KERAS3: (PerVariable((EMA,)), PerVariable((ACCUMULATION,))),
}
"""What every optimizer of a generation keeps before the blocks of its class (after the count and the learning rate)."""

EARLY_KERAS3_HEAD: tuple[Block, ...] = (PerVariable((EMA, ACCUMULATION)),)
"""The same in Keras 3.0 to 3.9, where the two alternated; that shows only in an optimizer that has both."""

_M, _V = Role.FIRST_MOMENT, Role.SECOND_MOMENT
INITIAL = "initial_accumulator_value"
"""The setting at which accumulators start."""


def _grouped(*kinds: SlotKind) -> tuple[Block, ...]:
    """One block a kind: all variables' first kind, then all variables' second."""
    return tuple(PerVariable((kind,)) for kind in kinds)


def _each(*kinds: SlotKind) -> tuple[Block, ...]:
    """One block for all kinds: they alternate, variable by variable."""
    return (PerVariable(kinds),)


def _hypers(*names: str) -> tuple[Hyper, ...]:
    """Settings kept as variables, besides those that every class keeps so; in the order in which they are created."""
    return tuple(Hyper(name, name) for name in sorted((*names, "decay", "learning_rate")))


def _keras1() -> tuple[Layout, ...]:
    rms = SlotKind("rms", Role.MEAN_SQUARE)
    accumulator = SlotKind("accumulator", Role.ACCUMULATOR)
    adadelta = (SlotKind("accumulator", Role.ACCUMULATOR), SlotKind("delta_accumulator", Role.ACCUMULATED_UPDATE))
    m, v = SlotKind("m", _M), SlotKind("v", _V)
    vhat = SlotKind("vhat", Role.MAX_SECOND_MOMENT, when="amsgrad")
    dummy = SlotKind("vhat", Role.MAX_SECOND_MOMENT, when="!amsgrad", extent=Extent.PLACEHOLDER)
    u = SlotKind("u", Role.INFINITY_NORM)
    keras1 = Generation.KERAS1
    return (
        Layout("SGD", keras1, _grouped(SlotKind("moment", Role.MOMENTUM))),
        Layout("RMSprop", keras1, _grouped(rms), versions=">=2.3"),
        Layout("RMSprop", keras1, _grouped(rms), counted=False, versions="<2.3"),
        Layout("Adagrad", keras1, _grouped(accumulator), versions=">=2.3"),
        Layout("Adagrad", keras1, _grouped(accumulator), counted=False, versions="<2.3"),
        Layout("Adadelta", keras1, _grouped(*adadelta), versions=">=2.3"),
        Layout("Adadelta", keras1, _grouped(*adadelta), counted=False, versions="<2.3"),
        Layout("Adam", keras1, _grouped(m, v, vhat, dummy), versions=">=2.1.3"),
        Layout("Adam", keras1, _grouped(m, v), versions="<2.1.3"),
        Layout("Adamax", keras1, _grouped(m, u)),
        Layout("Nadam", keras1, (Single("m_schedule"), *_grouped(m, v)), versions=">=2.3"),
        Layout("Nadam", keras1, _grouped(m, v), versions="<2.3"),
    )


def _optimizer_v2() -> tuple[Layout, ...]:
    v2 = Generation.OPTIMIZER_V2
    m, v = SlotKind("m", _M), SlotKind("v", _V)
    momentum = SlotKind("momentum", Role.MOMENTUM, when="momentum")
    betas = _hypers("beta_1", "beta_2")
    return (
        Layout("SGD", v2, _grouped(momentum), hypers=_hypers("momentum")),
        Layout(
            "RMSprop",
            v2,
            _grouped(SlotKind("rms", Role.MEAN_SQUARE), momentum, SlotKind("mg", Role.MEAN_GRADIENT, when="centered")),
            hypers=_hypers("momentum", "rho"),
        ),
        Layout("Adagrad", v2, _grouped(SlotKind("accumulator", Role.ACCUMULATOR, start=INITIAL))),
        Layout(
            "Adadelta",
            v2,
            _grouped(SlotKind("accum_grad", Role.ACCUMULATOR), SlotKind("accum_var", Role.ACCUMULATED_UPDATE)),
            hypers=_hypers("rho"),
        ),
        Layout("Adam", v2, _grouped(m, v, SlotKind("vhat", Role.MAX_SECOND_MOMENT, when="amsgrad")), hypers=betas),
        Layout("Adamax", v2, _grouped(m, SlotKind("v", Role.INFINITY_NORM)), hypers=betas),
        Layout("Nadam", v2, (Single("momentum_cache", "momentum_cache"), *_grouped(m, v)), hypers=betas),
        Layout(
            "Ftrl",
            v2,
            _each(SlotKind("accumulator", Role.ACCUMULATOR, start=INITIAL), SlotKind("linear", Role.LINEAR)),
            hypers=_hypers("beta", "l1_regularization_strength", "l2_regularization_strength", "learning_rate_power"),
        ),
    )


# What Keras 2.11 and later and Keras 3 lay out alike.
_RMSPROP = _grouped(
    SlotKind("velocity", Role.MEAN_SQUARE, "_velocities"),
    SlotKind("momentum", Role.MOMENTUM, "_momentums", "momentum"),
    SlotKind("average_gradient", Role.MEAN_GRADIENT, "_average_gradients", "centered"),
)
_ADADELTA = _each(
    SlotKind("accumulated_grad", Role.ACCUMULATOR, "_accumulated_grads"),
    SlotKind("accumulated_delta_var", Role.ACCUMULATED_UPDATE, "_accumulated_delta_vars"),
)
_FTRL = _each(
    SlotKind("accumulator", Role.ACCUMULATOR, "_accumulators", start=INITIAL),
    SlotKind("linear", Role.LINEAR, "_linears"),
)


def _keras2() -> tuple[Layout, ...]:
    k2 = Generation.KERAS2
    m, v = SlotKind("m", _M, "_momentums"), SlotKind("v", _V, "_velocities")
    vhat = SlotKind("vhat", Role.MAX_SECOND_MOMENT, "_velocity_hats", "amsgrad")
    absent = Below2D.ABSENT
    return (
        Layout("SGD", k2, _grouped(SlotKind("m", Role.MOMENTUM, "momentums")), versions=">=2.11"),
        # `optimizers.experimental.SGD` of TensorFlow 2.10 builds none without momentum (sgd.py, SGD.build).
        Layout("SGD", k2, _grouped(SlotKind("m", Role.MOMENTUM, "momentums", "momentum")), versions="<2.11"),
        Layout("RMSprop", k2, _RMSPROP),
        Layout("Adagrad", k2, _grouped(SlotKind("accumulator", Role.ACCUMULATOR, "_accumulators", start=INITIAL))),
        Layout("Adadelta", k2, _ADADELTA),
        Layout("Adam", k2, (*_each(m, v), *_grouped(vhat))),
        Layout("AdamW", k2, (*_each(m, v), *_grouped(vhat))),
        Layout("Adamax", k2, _each(SlotKind("m", _M, "_m"), SlotKind("u", Role.INFINITY_NORM, "_u"))),
        # `_u_product` is an attribute of the optimizer, but not one of its `variables`.
        Layout("Nadam", k2, _each(m, v), attributes=("_u_product",)),
        Layout("Ftrl", k2, _FTRL),
        Layout("Lion", k2, _grouped(SlotKind("m", _M, "momentums"))),
        Layout(
            "Adafactor",
            k2,
            _each(
                SlotKind("r", Role.ROW_MOMENT, "_r", extent=Extent.ROWS, below_2d=absent),
                SlotKind("c", Role.COLUMN_MOMENT, "_c", extent=Extent.COLUMNS, below_2d=absent),
                SlotKind("v", _V, "_v"),
            ),
        ),
    )


_MUON_MOMENTUM = SlotKind("momentum", _M, "momentums")


def _muon_velocity(only: str) -> SlotKind:
    return SlotKind("velocity", _V, "adam_velocities", only=only)


def _keras3() -> tuple[Layout, ...]:
    k3 = Generation.KERAS3
    m, v = SlotKind("momentum", _M, "_momentums"), SlotKind("velocity", _V, "_velocities")
    hat = SlotKind("velocity_hat", Role.MAX_SECOND_MOMENT, "_velocity_hats", "amsgrad")
    adam = (*_each(m, v), *_grouped(hat))
    product = Single("u_product", "_u_product")
    return (
        Layout("SGD", k3, _grouped(SlotKind("momentum", Role.MOMENTUM, "momentums", "momentum"))),
        Layout("RMSprop", k3, _RMSPROP),
        Layout("Adagrad", k3, _grouped(SlotKind("accumulator", Role.ACCUMULATOR, "_accumulators", start=INITIAL))),
        Layout("Adadelta", k3, _ADADELTA),
        Layout("Adam", k3, adam),
        Layout("AdamW", k3, adam),
        Layout("Lamb", k3, _each(m, v)),
        Layout("ScheduleFreeAdamW", k3, _each(m._replace(start=COPY), v)),
        Layout("Adamax", k3, _each(SlotKind("momentum", _M, "_m"), SlotKind("norm", Role.INFINITY_NORM, "_u"))),
        Layout("Nadam", k3, (*_each(m, v), product), versions=">=3.10"),
        Layout("Nadam", k3, (product, *_each(m, v)), versions="<3.10"),
        Layout("Ftrl", k3, _FTRL),
        Layout("Lion", k3, _grouped(SlotKind("momentum", _M, "_momentums"))),
        Layout(
            "Adafactor",
            k3,
            _each(
                SlotKind("r", Role.ROW_MOMENT, "_r", extent=Extent.ROWS),
                SlotKind("c", Role.COLUMN_MOMENT, "_c", extent=Extent.COLUMNS),
                SlotKind("velocity", _V, "_v"),
            ),
        ),
        Layout("Muon", k3, _each(_MUON_MOMENTUM, _muon_velocity("adam_branch")), versions=">=3.13"),
        Layout("Muon", k3, _each(_MUON_MOMENTUM, _muon_velocity("adam_branch_3d")), versions="<3.13"),
    )


LAYOUTS: tuple[Layout, ...] = (*_keras1(), *_optimizer_v2(), *_keras2(), *_keras3())
"""Every class of every Keras generation. Within a class, the newest variant comes first."""


def _keras3_wrapped() -> tuple[Layout, ...]:
    """What is different in a LossScaleOptimizer, which `mixed_float16` puts around every optimizer.

    Its `build` suspends tracking, so variables that the inner class makes itself, rather than by `add_variable`, are no
    part of `variables` and so of no file: Nadam's product, and what Adafactor has for vectors and scalars.
    """
    k3, absent = Generation.KERAS3, Below2D.ABSENT
    m, v = SlotKind("momentum", _M, "_momentums"), SlotKind("velocity", _V, "_velocities")
    return (
        Layout("Nadam", k3, _each(m, v), wrapped=True),
        Layout(
            "Adafactor",
            k3,
            _each(
                SlotKind("r", Role.ROW_MOMENT, "_r", extent=Extent.ROWS, below_2d=absent),
                SlotKind("c", Role.COLUMN_MOMENT, "_c", extent=Extent.COLUMNS, below_2d=absent),
                SlotKind("velocity", _V, "_v"),
            ),
            wrapped=True,
        ),
    )


WRAPPED_LAYOUTS: tuple[Layout, ...] = _keras3_wrapped()
"""Variants for known classes only: among `LAYOUTS`, Nadam's would make every Adam a possible Nadam."""

SAME_RULE = frozenset({"Adam", "AdamW"})
"""Weight decay changes the weights, not what the state means: these two are one rule with another setting."""
_MOST_USED = (
    "Adam", "SGD", "RMSprop", "AdamW", "Adagrad", "Nadam", "Adamax", "Adadelta", "Ftrl", "Lion", "Adafactor", "Lamb",
    "Muon",
)  # fmt: skip
CLASSES_BY_POPULARITY = tuple(dict.fromkeys((*_MOST_USED, *(each.class_name for each in LAYOUTS))))
"""Where several classes fit what is stored, the first of these is named and the others are candidates."""

WRAPPERS = dict.fromkeys(("LossScaleOptimizer", "LossScaleOptimizerV1", "LossScaleOptimizerV3"), "inner_optimizer")
"""Wrapper class → the key of its configuration that holds the inner optimizer's."""


@cache
def _variants(name: str, kind: Generation) -> tuple[Layout, ...]:
    return tuple(each for each in (*LAYOUTS, *WRAPPED_LAYOUTS) if each.class_name == name and each.generation is kind)


def layouts(class_name: str, generation: Generation) -> tuple[Layout, ...]:
    """The variants of one class in one generation, the newest first; empty if neither table nor declaration has it."""
    if generation is Generation.TORCH:
        from ckptdoctor.optimizers.torch.catalogue import torch_layouts

        return torch_layouts(class_name)
    found = _variants(class_name, generation)
    if found or not class_name or generation in {Generation.TF1, Generation.OPTAX}:
        return found
    from ckptdoctor.optimizers import declared  # which knows this module

    return tuple(each.layout for each in declared.of(class_name) if each.layout.generation is generation)


def classes(generation: Generation) -> tuple[str, ...]:
    """The classes of one generation, the most common first; declared ones are known by name alone."""
    known = {each.class_name for each in LAYOUTS if each.generation is generation}
    return tuple(name for name in CLASSES_BY_POPULARITY if name in known)


def is_known(class_name: str | None) -> bool:
    """Whether the state of a class is known in some generation."""
    if not class_name or class_name in CLASSES_BY_POPULARITY:
        return bool(class_name)
    from ckptdoctor.optimizers import declared

    return bool(declared.of(class_name))
