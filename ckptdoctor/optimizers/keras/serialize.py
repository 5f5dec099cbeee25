"""Optimizer configurations in every dialect: what `optimizers.deserialize` of each generation builds the class from.

The reverse of `config.read_config`. What a dialect has no word for is refused, never left out in silence: training
would go on with another rule than before.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from ckptdoctor.errors import GraftRefused
from ckptdoctor.optimizers import declared
from ckptdoctor.optimizers.catalogue import classes
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.inference import snake_case
from ckptdoctor.optimizers.keras.config import CURRENT_RATE, read_config
from ckptdoctor.optimizers.keras.defaults import ADDED, DEFAULTS, OPTIONAL, defaults_of
from ckptdoctor.optimizers.lists.layout import relevant_flags
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.state import Generation, Schedule


class Form(Enum):
    """How an artifact writes serialized objects down."""

    LEGACY = "legacy"
    """`{"class_name", "config"}`: `training_config` of HDF5 files and of SavedModels."""
    OBJECT = "object"
    """`{"module", "class_name", "config", "registered_name"}`: `compile_config` of `.keras` archives."""


_MODULE = "keras.optimizers"
_SCHEDULES = "keras.optimizers.schedules"
_SCHEDULE_CLASSES = frozenset({
    "CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay", "PiecewiseConstantDecay",
    "PolynomialDecay",
})  # fmt: skip
"""Schedules that every generation since OptimizerV2 has."""
_WARMUP = ("warmup_target", "warmup_steps")
"""Arguments of CosineDecay that TensorFlow before 2.13 does not know; unset they mean nothing."""

_HANDLED = frozenset({
    "learning_rate", "name", "is_legacy_optimizer", "jit_compile", "schedule_decay", "inner_optimizer", "dtype",
    CURRENT_RATE,
})  # fmt: skip
"""Words that say nothing about the update rule, or that are looked at by themselves."""
_SILENT = frozenset({
    "name", "jit_compile", "is_legacy_optimizer", "initial_accumulator_value", "amsgrad", "centered", "use_ema",
    "gradient_accumulation_steps", "exclude_layers",
})  # fmt: skip
"""Words that change nothing in a run that has begun, or that the state itself shows."""
_WITH_MOMENTUM = frozenset({"SGD", "RMSprop"})
_EMA = frozenset({"ema_momentum", "ema_overwrite_frequency"})
_NADAM_DECAY = "schedule_decay"

_INITIAL_SCALE = 2.0**15
_GROWTH_STEPS = 2000


def to_config(optimizer: PlannedOptimizer, form: Form, *, package: str = "keras") -> dict[str, object]:
    """Serializes an optimizer in the dialect of its generation.

    Args:
        optimizer: The optimizer.
        form: How the artifact writes serialized objects.
        package: The package whose modules the artifact names: `tf_keras` for archives by that package.

    Raises:
        GraftRefused: The generation has no such class, or no word for one of its settings.
    """
    generation = optimizer.generation
    if generation not in DEFAULTS:
        raise GraftRefused(f"{dialect(generation).title} optimizers have no configuration that could be written")
    defaults = defaults_of(optimizer.class_name, generation)
    if defaults is None:
        if registered_name(optimizer.class_name, generation) is not None:
            raise GraftRefused(
                f"the defaults of {optimizer.class_name} are not declared, so that no configuration can be written: "
                "declare them (docs: declare), or compile the target as the donor was and save it again"
            )
        known = ", ".join(classes(generation))
        raise GraftRefused(f"{dialect(generation).title} has no optimizer {optimizer.class_name!r}; it has {known}")
    if optimizer.around is not None:
        raise GraftRefused(
            f"what configures a {optimizer.around} is not known: compile the target as the donor was and save it again"
        )
    _require_numbers(optimizer)
    config = _config(optimizer, defaults, form)
    node = _node(optimizer.class_name, config, generation, form)
    if optimizer.wrapper is None:
        return node
    return _wrapped(optimizer, node, form, package)


def require_agreement(node: object, optimizer: PlannedOptimizer) -> None:
    """Checks that what a configuration builds keeps the variables that are written: loaders skip any other list.

    Raises:
        GraftRefused: It keeps others.
    """
    version = "3." if optimizer.generation is Generation.KERAS3 else None
    config = read_config(node, version, optimizer.generation)
    if config is None or config.class_name != optimizer.class_name:
        raise GraftRefused(f"the configuration is not that of {optimizer.class_name}: compile the target again")
    relevant = frozenset(relevant_flags(optimizer.layout))
    said, kept = config.settings.flags & relevant, optimizer.settings.flags & relevant
    if said != kept:
        names = ", ".join(sorted(flag.replace("_", " ") for flag in said ^ kept))
        raise GraftRefused(
            f"the configuration and the state of {optimizer.class_name} contradict each other in {names}, and Keras "
            "would skip the state: compile the target as the donor was, and save it again"
        )


def _require_numbers(optimizer: PlannedOptimizer) -> None:
    """What state there is shows that a setting is on; a configuration needs its number as well.

    Raises:
        GraftRefused: Nothing tells it.
    """
    flags, known = optimizer.settings.flags, optimizer.hyperparameters
    lacking: dict[str, str] = {}
    if "momentum" in flags and not _above(known.get("momentum"), 0):
        lacking["momentum"] = "say it by --set momentum=VALUE"
    if "gradient_accumulation" in flags and not _above(known.get("gradient_accumulation_steps"), 1):
        steps = "say it by --set gradient_accumulation_steps=N"
        lacking["number of gradient accumulation steps"] = steps
    if "schedule" in flags and optimizer.schedule is None:
        lacking["learning-rate schedule"] = "--learning-rate sets a constant rate instead"
    if lacking:
        raise GraftRefused(
            f"the donor's {optimizer.class_name} uses a {' and a '.join(lacking)} that nothing tells, and the target's "
            f"configuration must: {'; '.join(lacking.values())}; or compile the target as the donor was and save it "
            "again, or take the state from an artifact that records it (.keras, .h5)"
        )


def _above(value: object, least: int) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > least


def assumed(optimizer: PlannedOptimizer, donor: Generation | None) -> dict[str, object]:
    """What a configuration takes from the class's defaults, because nothing tells it, of all that changes training.

    What state shows (a flag that is off) is known, and so is what the donor's generation did not have.
    """
    defaults = defaults_of(optimizer.class_name, optimizer.generation) or {}
    known, flags = optimizer.hyperparameters, optimizer.settings.flags
    silent = _SILENT | (_EMA if "use_ema" not in flags else frozenset())
    if "momentum" not in flags and optimizer.class_name in _WITH_MOMENTUM:
        silent |= {"momentum", "nesterov"}
    if optimizer.schedule is not None:
        silent |= {"learning_rate"}
    possible = vocabulary(optimizer.class_name, donor)
    return {
        name: default
        for name, default in defaults.items()
        if known.get(name) is None and name not in silent and (possible is None or name in possible)
    }


def vocabulary(class_name: str, generation: Generation | None) -> frozenset[str] | None:
    """The hyperparameters of a class in a generation; None where that is not known."""
    if generation is None:
        return None
    if generation is Generation.TF1:  # tf.compat.v1.train had those of OptimizerV2, without clipping and decay
        generation, optional = Generation.OPTIMIZER_V2, frozenset[str]()
    else:
        optional = OPTIONAL[generation]
    own = defaults_of(class_name, generation)
    return None if own is None else frozenset({*own, *optional})


def default_rate(class_name: str, generation: Generation) -> float | None:
    """The learning rate of a class that nobody told one."""
    rate = (defaults_of(class_name, generation) or {}).get("learning_rate")
    return rate if isinstance(rate, float) else None


def config_name(optimizer: PlannedOptimizer) -> str:
    """The name in the configuration and in front of state variables: in snake case since Keras 3."""
    if optimizer.around is not None:
        return optimizer.around.partition(" of ")[0]
    if optimizer.class_name not in classes(optimizer.generation):
        own = next((each.name for each in declared.of(optimizer.class_name)), optimizer.class_name)
        if own != optimizer.class_name:
            return own
    if optimizer.generation is Generation.KERAS3:
        return snake_case(optimizer.class_name)
    return optimizer.class_name


def _node(class_name: str, config: dict[str, object], generation: Generation, form: Form) -> dict[str, object]:
    registered = registered_name(class_name, generation)
    if form is Form.OBJECT:
        module = _MODULE if registered is None else None
        return {"module": module, "class_name": class_name, "config": config, "registered_name": registered}
    if registered is not None:
        return {"class_name": registered, "config": config}
    # The rewritten optimizers are registered (keras.utils.register_keras_serializable), their legacy twins are not.
    name = f"Custom>{class_name}" if generation is Generation.KERAS2 else class_name
    return {"class_name": name, "config": config}


def registered_name(class_name: str, generation: Generation) -> str | None:
    """What a configuration calls a declared class; None for those of Keras itself."""
    if class_name in classes(generation):
        return None
    known = (each for each in declared.of(class_name) if each.layout.generation is generation)
    return next((each.registered for each in known), None)


def _config(optimizer: PlannedOptimizer, defaults: Mapping[str, object], form: Form) -> dict[str, object]:
    generation = optimizer.generation
    given = _given(optimizer, defaults)
    config: dict[str, object] = {} if generation is Generation.KERAS1 else {"name": config_name(optimizer)}
    added = ADDED.get(generation, frozenset())
    for key, default in defaults.items():
        value = given.pop(key, default)
        if key not in added or value != default:
            config[key] = value
    config.update(given)
    if generation is Generation.KERAS3 and "jit_compile" in config:
        del config["jit_compile"]
    if optimizer.schedule is not None:
        config["learning_rate"] = _schedule(optimizer.schedule, generation, form)
    elif optimizer.learning_rate is not None:
        config["learning_rate"] = optimizer.learning_rate
    if generation is Generation.KERAS1:
        _as_keras1(optimizer, config)
        return {"lr": config.pop("learning_rate"), **config}
    return config


def _as_keras1(optimizer: PlannedOptimizer, config: dict[str, object]) -> None:
    """Leaves out what Keras before 2.1.3 does not know (`Adam.__init__`: every argument is an attribute)."""
    roles = {kind.name for kind in optimizer.layout.kinds}
    if optimizer.class_name == "Adam" and "vhat" not in roles:
        config.pop("amsgrad", None)


def _given(optimizer: PlannedOptimizer, defaults: Mapping[str, object]) -> dict[str, object]:
    """The known hyperparameters that the class has; what it lacks must be off.

    Raises:
        GraftRefused: One that it lacks is on.
    """
    generation, class_name = optimizer.generation, optimizer.class_name
    known = _renamed(optimizer)
    uses_ema = known.get("use_ema") is True
    found: dict[str, object] = {}
    for key, value in known.items():
        if key in defaults and key != "learning_rate":
            # TensorFlow 1.15 and Keras before 2.1.3 wrote null for "the backend's epsilon".
            if value is not None or defaults[key] is None:
                found[key] = _whole(value) if type(defaults[key]) is int else value
        elif key in OPTIONAL[generation]:
            if value is not None:
                found[key] = value
        elif key in _HANDLED or (key in _EMA and not uses_ema) or _is_off(class_name, key, value):
            continue
        else:
            raise GraftRefused(_cannot_say(class_name, generation, key, value))
    if optimizer.settings.exclude_layers and "exclude_layers" in defaults:
        found["exclude_layers"] = list(optimizer.settings.exclude_layers)
    return found


def _whole(value: object) -> object:
    """A whole number as one, where a variable of floats held it: a class may take nothing else (RectifiedAdam)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _renamed(optimizer: PlannedOptimizer) -> dict[str, object]:
    """Nadam's own decay, of its momentum: `decay` in OptimizerV2, `schedule_decay` in Keras 1, fixed in the others."""
    known = dict(optimizer.hyperparameters)
    if optimizer.class_name != "Nadam":
        return known
    decay = known.pop("decay", None)
    decay = known.pop(_NADAM_DECAY, decay)
    name = dialect(optimizer.generation).nadam_decay
    if name and decay is not None:
        known[name] = decay
    return known


def _is_off(class_name: str, key: str, value: object) -> bool:
    """Whether a setting changes nothing: switched off, or what every generation does anyway."""
    if value is None or value is False or (key in {"decay", "weight_decay"} and value == 0):
        return True
    anywhere = [table[class_name] for table in DEFAULTS.values() if class_name in table]
    return any(key in each and each[key] == value for each in anywhere)


def _cannot_say(class_name: str, generation: Generation, key: str, value: object) -> str:
    sentence = f"{dialect(generation).title}'s {class_name} has no {key!r}, which is {value!r} here"
    if key == "decay":
        return (
            f"{sentence}: it would be an InverseTimeDecay schedule (initial_learning_rate, decay_steps=1, "
            f"decay_rate={value!r}); compile the target with that schedule, then graft"
        )
    return f"{sentence}; choose a target of a generation that has it"


# --------------------------------------------------------------------------------------------------------- schedules


def _schedule(schedule: Schedule, generation: Generation, form: Form) -> dict[str, object]:
    if generation is Generation.KERAS1:
        raise GraftRefused(
            f"{dialect(generation).title} has no learning-rate schedules; this is a {schedule.class_name}"
        )
    if schedule.class_name not in _SCHEDULE_CLASSES:
        raise GraftRefused(
            f"the learning rate is a {schedule.class_name}, which is no schedule of {dialect(generation).title}: "
            "compile the target with it, then graft"
        )
    config = dict(schedule.config)
    if any(isinstance(value, Mapping) for value in config.values()):
        raise GraftRefused(f"the {schedule.class_name} schedule holds another one; compile the target with it instead")
    if generation is Generation.KERAS3:
        config["name"] = config.get("name") or schedule.class_name
        nested = True
    else:
        for key in _WARMUP if not config.get("warmup_target") else ():
            config.pop(key, None)
        nested = form is Form.OBJECT
    if nested:
        return {
            "module": _SCHEDULES,
            "class_name": schedule.class_name,
            "config": config,
            "registered_name": None,
        }
    return {"class_name": schedule.class_name, "config": config}


# ----------------------------------------------------------------------------------------------------------- wrappers


def _wrapped(optimizer: PlannedOptimizer, inner: dict[str, object], form: Form, package: str) -> dict[str, object]:
    """A LossScaleOptimizer around a serialized optimizer (`get_config` of the class of each generation)."""
    generation = optimizer.generation
    class_name = dialect(generation).wrapper
    own = optimizer.wrapper[1] if optimizer.wrapper is not None else {}
    if not class_name:
        raise GraftRefused(f"{dialect(generation).title} has no LossScaleOptimizer to put around the optimizer")
    scale = {
        "initial_scale": float(own.get("initial_scale", _INITIAL_SCALE)),
        "dynamic_growth_steps": int(own.get("dynamic_growth_steps", _GROWTH_STEPS)),
    }
    if generation is Generation.KERAS3:
        config: dict[str, object] = {"name": snake_case(class_name), "inner_optimizer": _as_object(inner), **scale}
        return _node(class_name, config, generation, form)
    config = {"inner_optimizer": inner, "dynamic": bool(own.get("dynamic", True)), **scale}
    if form is Form.LEGACY:
        if generation is Generation.KERAS2:
            config["inner_optimizer"] = _as_object(inner)
        return {"class_name": class_name, "config": config}
    source = "tf_keras" if package == "tf_keras" else "keras"
    module = f"{source}.src.mixed_precision.loss_scale_optimizer"
    return {"module": module, "class_name": class_name, "config": config, "registered_name": class_name}


def _as_object(node: dict[str, object]) -> dict[str, object]:
    """Inner optimizers are serialized objects (`serialize_keras_object`) in both forms."""
    name = str(node["class_name"]).rpartition(">")[2]
    return {"module": _MODULE, "class_name": name, "config": node["config"], "registered_name": None}
