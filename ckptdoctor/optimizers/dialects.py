"""How implementations of optimizers differ beside the state that each class keeps: a record a generation.

The rest of the package asks a record for what it has to know, and names no generation (`tests/test_architecture.py`).
Which state variables a class has is in the catalogue, its configuration in `optimizers/keras/`.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from ckptdoctor.state import Generation
from ckptdoctor.versions import release


class Dialect(NamedTuple):
    """What all optimizers of a generation have in common. The defaults are Keras 3's.

    Attributes:
        title: Its name in sentences.
        short: Its name where space is short.
        package: What loads it: a package, or `standalone` for Keras as it was up to 2.3.
        by_graph: Its state is found by the names of a graph's operations, with scopes before them and numbers behind;
            no configuration of it is recorded, and its classes are in `name_based.py`.
        counts: It keeps a count of its own; TensorFlow 1's programs have one, `global_step`.
        by_parameter: It keeps a count for each parameter, if its class needs one; parameters without state are normal.
        chained: It is a chain of transformations, each with a count of its own or none; no settings are stored.
        counts_with_decay: Classes that count only where a decay is set.
        place_for_count: The generation that a list has to be written as to have a place for a count; "" for itself.
        listed: Its state goes by place in a list in every format.
        rate_listed: The learning rate is in that list, unless it is a schedule.
        rate_of_schedule: What a schedule gave last is stored.
        accumulates: It has gradient accumulation.
        empty_averages: Averages of weights (`use_ema`) are zeros until the first step, which takes the weights.
        stores_settings: Its hyperparameters are variables in object graphs.
        settings_tell_slots: A setting in a configuration and the slots that follow from it have to agree.
        momentum: What SGD's momentum adds up: steps, or gradients without the learning rate.
        always_momentum: Classes that keep momentum slots even where momentum is 0.
        nadam: Nadam's momentum schedule: 0.96^(0.004 t), or 0.96^t.
        nadam_decay: Nadam's name for that 0.004; "" where it is fixed.
        epsilon_outside: RMSprop's epsilon stands outside the square root.
        placeholders: Adam without AMSGrad keeps a zero for each variable in place of its `vhat`.
        legacy: Stand-ins of it are of `optimizers.legacy`.
        one_over_t: It has `decay`, by which the rate falls as 1 / (1 + decay t).
        wrapper: Its class that scales losses; "" for none.
    """

    title: str
    short: str
    package: str = "keras"
    by_graph: bool = False
    counts: bool = True
    by_parameter: bool = False
    chained: bool = False
    counts_with_decay: frozenset[str] = frozenset()
    place_for_count: str = ""
    listed: bool = True
    rate_listed: bool = True
    rate_of_schedule: bool = False
    accumulates: bool = True
    empty_averages: bool = True
    stores_settings: bool = False
    settings_tell_slots: bool = True
    momentum: Literal["step", "gradient"] = "step"
    always_momentum: frozenset[str] = frozenset()
    nadam: Literal["slow", "fast"] = "fast"
    nadam_decay: str = ""
    epsilon_outside: bool = False
    placeholders: bool = False
    legacy: bool = False
    one_over_t: bool = False
    wrapper: str = "LossScaleOptimizer"

    @property
    def program(self) -> str:
        """Whose optimizers these are: no other program's take their state as it is."""
        return self.package if self.package in {"torch", "optax"} else "keras"


_BEFORE_KERAS3 = Dialect("", "", package="tf_keras", rate_listed=False, accumulates=False, empty_averages=False)
_BEFORE_REWRITE = _BEFORE_KERAS3._replace(
    listed=False, nadam="slow", epsilon_outside=True, placeholders=True, legacy=True, one_over_t=True
)

DIALECTS: Mapping[Generation, Dialect] = {
    # tensorflow/python/training: optimizer.py, momentum.py, rmsprop.py
    Generation.TF1: _BEFORE_REWRITE._replace(
        title="TensorFlow 1", short="TensorFlow 1", package="tensorflow", by_graph=True, counts=False,
        settings_tell_slots=False, momentum="gradient", always_momentum=frozenset({"RMSprop"}), epsilon_outside=False,
        placeholders=False, legacy=False, wrapper="",
    ),
    # keras/optimizers.py of 1.2.2 to 2.3.1
    Generation.KERAS1: _BEFORE_REWRITE._replace(
        title="Keras 1 to 2.3", short="standalone Keras 1.x to 2.3", package="standalone",
        counts_with_decay=frozenset({"SGD"}), place_for_count="optimizer-v2", settings_tell_slots=False,
        always_momentum=frozenset({"SGD"}), nadam_decay="schedule_decay", wrapper="",
    ),
    # tensorflow/python/keras/optimizer_v2, keras/optimizers/legacy
    Generation.OPTIMIZER_V2: _BEFORE_REWRITE._replace(
        title="tf.keras up to 2.10 (and optimizers.legacy)", short="tf.keras up to 2.10 or legacy",
        stores_settings=True, nadam_decay="decay",
    ),
    # keras/optimizers/optimizer_experimental of 2.9, keras/src/optimizers of 2.11 to 2.15
    Generation.KERAS2: _BEFORE_KERAS3._replace(
        title="Keras 2.11 to 2.15 (and tf_keras)", short="Keras 2.11+ or tf_keras", rate_of_schedule=True,
        always_momentum=frozenset({"SGD"}), wrapper="LossScaleOptimizerV3",
    ),
    Generation.KERAS3: Dialect("Keras 3", "Keras 3"),
    # torch/optim
    Generation.TORCH: Dialect(
        "PyTorch", "PyTorch", package="torch", by_parameter=True, listed=False, rate_listed=False, accumulates=False,
        momentum="gradient", nadam="slow", wrapper="",
    ),
    # optax/_src: transforms.py, alias.py
    Generation.OPTAX: Dialect(
        "optax", "optax", package="optax", chained=True, listed=False, rate_listed=False, accumulates=False,
        momentum="gradient", nadam="slow", wrapper="",
    ),
}  # fmt: skip
"""Every generation; TF1's `nadam`, `one_over_t` say nothing, as it has neither."""

_UNTOLD = Dialect(
    "", "", package="", listed=False, rate_listed=False, accumulates=False, nadam="slow", settings_tell_slots=True
)

_REWRITTEN = (2, 11)
"""The release of TensorFlow, and of the Keras in it, whose optimizers were rewritten."""
_IN_TENSORFLOW = (2, 4)
"""The first Keras in TensorFlow whose version could not be one of the package keras, which ended with 2.3."""


def dialect(generation: Generation | None) -> Dialect:
    """A generation's record; where nothing tells the generation, one that promises nothing."""
    return DIALECTS[generation] if generation is not None else _UNTOLD


def of_tensorflow(version: str | None) -> Generation | None:
    """The optimizers that tf.keras of a TensorFlow compiles models with; None where the version is not known."""
    numbers = release(version)
    if not numbers:
        return None
    return Generation.KERAS2 if numbers >= _REWRITTEN else Generation.OPTIMIZER_V2


def of_keras(version: str | None) -> Generation | None:
    """The optimizers that a Keras saves by default, by its `keras_version` (`2.2.4-tf` is TensorFlow's own)."""
    if not version:
        return None
    numbers = release(version) or (0, 0)
    if numbers[0] == 2 and (version.endswith("-tf") or numbers >= _IN_TENSORFLOW):  # noqa: PLR2004
        return of_tensorflow(version)
    return Generation.KERAS3 if numbers[0] == 3 else Generation.KERAS1  # noqa: PLR2004
