"""Optimizer configurations: `training_config`, `compile_config` and their dialects, read into one shape."""

from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from ckptdoctor.optimizers.catalogue import CLASSES_BY_POPULARITY, WRAPPERS, Layout, layouts
from ckptdoctor.optimizers.keras.defaults import DEFAULTS, defaults_of
from ckptdoctor.state import NOTHING, Generation, Role, Schedule

FLAGS = ("amsgrad", "momentum", "centered", "use_ema", "gradient_accumulation", "schedule")
"""What in a configuration decides which state variables exist. All six in the order of `Settings`."""

RARE = frozenset({"use_ema", "gradient_accumulation", "schedule"})
"""Flags that any class can have and few users set: guessed last, for with them most lists could be most classes'."""

CURRENT_RATE = "current_learning_rate"
"""What a schedule gave last; the optimizers of Keras 2.11 to 2.15 keep it, and set it before every step."""

_NOT_HYPERPARAMETERS = frozenset(
    {"name", "jit_compile", "is_legacy_optimizer", "module", "registered_name", "class_name", "dtype"}
)


_INNER = ("optimizer", "inner_optimizer", "base_optimizer")
"""Where the configuration of an optimizer around another one has that (tensorflow_addons' Lookahead, SWA, …)."""


class Settings(NamedTuple):
    """What a configuration says about which state variables exist.

    Attributes:
        flags: Those of `FLAGS` that are on, and others on which a declared class depends.
        exclude_layers: Muon: patterns of variable paths that Adam trains.
        exclude_embeddings: Muon: Adam trains embeddings.
    """

    flags: frozenset[str] = frozenset()
    exclude_layers: tuple[str, ...] = ()
    exclude_embeddings: bool = True

    def has(self, condition: str) -> bool:
        """Whether `condition` holds: "" always, "x" when x is on, "!x" when it is off."""
        if not condition:
            return True
        return (condition[1:] not in self.flags) if condition.startswith("!") else condition in self.flags


class OptimizerConfig(NamedTuple):
    """An optimizer as a configuration describes it.

    Attributes:
        class_name: The Keras class, without `Custom>` and the like.
        generation: Which implementation reads this dialect; None where it does not tell.
        name: The optimizer's name, where the configuration has one.
        hyperparameters: Everything numeric, boolean or null in it; a schedule stands as its class name.
        settings: What it means for the state variables.
        schedule: Its learning-rate schedule.
        wrapper: Class of the wrapper around it.
        wrapper_config: The wrapper's own settings.
        inner: For containers of several optimizers (Keras 3 MultiOptimizer), each of them.
    """

    class_name: str
    generation: Generation | None
    name: str | None = None
    hyperparameters: Mapping[str, object] = NOTHING
    settings: Settings = Settings()
    schedule: Schedule | None = None
    wrapper: str | None = None
    wrapper_config: Mapping[str, object] = NOTHING
    inner: "tuple[OptimizerConfig, ...]" = ()

    @property
    def nested(self) -> bool:
        """Whether a wrapper is around it that keeps slots of its own, as LossScaleOptimizers do not."""
        return self.wrapper is not None and self.wrapper not in WRAPPERS

    @property
    def gradient_accumulation_steps(self) -> int | None:
        """How many calls make one step, where more than one do."""
        steps = self.hyperparameters.get("gradient_accumulation_steps")
        return steps if isinstance(steps, int) and not isinstance(steps, bool) and steps > 1 else None


@lru_cache
def every_setting(relevant: tuple[str, ...] = FLAGS) -> tuple[Settings, ...]:
    """All combinations of the given flags, the plainest first, for artifacts that have no configuration."""

    def plainness(bits: tuple[bool, ...]) -> tuple[int, int]:
        return sum(on for name, on in zip(relevant, bits, strict=True) if name in RARE), sum(bits)

    combinations = sorted(product((False, True), repeat=len(relevant)), key=plainness)
    return tuple(
        Settings(frozenset(name for name, on in zip(relevant, bits, strict=True) if on)) for bits in combinations
    )


def read_config(
    node: object, keras_version: str | None = None, generation: Generation | None = None
) -> OptimizerConfig | None:
    """Reads a serialized optimizer `{"class_name": …, "config": {…}}` of any generation, or its bare name.

    Args:
        node: The parsed JSON; anything that is not of this shape answers None.
        keras_version: The version that the artifact names, to tell dialects apart that look alike.
        generation: Whose class a bare name is, as in `compile(optimizer="adam")`.

    Returns:
        The configuration, with a wrapper (LossScaleOptimizer) taken off.
    """
    if isinstance(node, str):
        node = _by_default(node, generation)
    if not isinstance(node, Mapping):
        return None
    class_name, config = node.get("class_name"), node.get("config")
    if not isinstance(class_name, str) or not isinstance(config, Mapping):
        return None
    class_name = class_name.rpartition(">")[2]
    holding = (WRAPPERS.get(class_name) or wrapping_key(class_name), *_INNER)
    around = next((config[key] for key in holding if config.get(key)), None)
    if around is not None:
        inner = read_config(around, keras_version, generation)
        if inner is not None:
            outer = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
            return _wrapped(inner, class_name, outer)
    inner_configs = tuple(each for one in _children(config) if (each := read_config(one, keras_version)) is not None)
    schedule = _schedule(config.get("learning_rate", config.get("lr")))
    name = config.get("name")
    dialect = _declared_generation(class_name, _generation(node, config, keras_version))
    return OptimizerConfig(
        class_name=class_name,
        generation=dialect,
        name=name if isinstance(name, str) else None,
        hyperparameters=_hyperparameters(config, schedule),
        settings=_settings(class_name, dialect, config, schedule),
        schedule=schedule,
        inner=inner_configs,
    )


def _by_default(name: str, generation: Generation | None) -> Mapping[str, object] | None:
    """What a name stands for: the class with its defaults, its case left out of account (`optimizers.get`)."""
    if not name or generation is None:
        return None
    table = DEFAULTS.get(generation, {})
    known = next((each for each in table if each.lower() == name.lower()), name.rpartition(">")[2])
    config = dict(table.get(known, {}))
    # OptimizerV2 is told from standalone Keras by having a name.
    return {"class_name": known, "config": config if generation is Generation.KERAS1 else {"name": known, **config}}


def _children(config: Mapping[str, object]) -> list[object]:
    """The optimizers inside a MultiOptimizer, in its order: those of its OptimizerMap, then the default one."""
    listed = config.get("optimizers")
    specs = config.get("optimizer_specs")  # tensorflow_addons
    if isinstance(specs, (list, tuple)):
        listed = [each.get("optimizer") for each in specs if isinstance(each, Mapping)]
    if isinstance(listed, (list, tuple)):
        return list(listed)
    mapped = config.get("optimizer_map")
    about = mapped.get("config") if isinstance(mapped, Mapping) else None
    if not isinstance(about, Mapping):
        return []
    chosen = about.get("optimizer_map")
    return [*(chosen.values() if isinstance(chosen, Mapping) else ()), about.get("default_optimizer")]


def _wrapped(inner: OptimizerConfig, wrapper: str, outer: Mapping[str, object]) -> OptimizerConfig:
    names = (wrapper, inner.wrapper) if inner.wrapper is not None else (wrapper,)
    return inner._replace(wrapper=" of ".join(names), wrapper_config=outer)


def _generation(node: Mapping[str, object], config: Mapping[str, object], version: str | None) -> Generation | None:
    """Which implementation wrote a configuration.

    Sources: `get_config` of each generation. Keras 3 alone has `loss_scale_factor`; the rewritten Keras 2 optimizers
    have `is_legacy_optimizer: false` (absent means OptimizerV2, in every version); OptimizerV2 alone puts `name` into
    it; standalone Keras before 2.3 says `lr`.
    """
    major = (version or "").partition(".")[0]
    if "loss_scale_factor" in config or "gradient_accumulation_steps" in config or major == "3":
        return Generation.KERAS3
    registered = str(node.get("class_name", "")).startswith(("Custom>", "Addons>")) and "jit_compile" in config
    if config.get("is_legacy_optimizer") is False or registered:
        return Generation.KERAS2
    if "jit_compile" in config and "weight_decay" in config:
        return Generation.KERAS2
    if "name" in config:
        return Generation.OPTIMIZER_V2
    return Generation.KERAS1 if "lr" in config or "learning_rate" in config or major in {"1", "2"} else None


def _schedule(rate: object) -> Schedule | None:
    if not isinstance(rate, Mapping):
        return None
    name, config = rate.get("class_name"), rate.get("config")
    # A schedule without a serializable configuration is still a schedule.
    return Schedule(
        class_name=name.rpartition(">")[2] if isinstance(name, str) else "custom",
        config=dict(config) if isinstance(config, Mapping) else {},
    )


def _hyperparameters(config: Mapping[str, object], schedule: Schedule | None) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in config.items():
        if key in _NOT_HYPERPARAMETERS or isinstance(value, (Mapping, list, tuple)):
            continue
        found["learning_rate" if key == "lr" else key] = value
    if schedule is not None:
        found["learning_rate"] = schedule.class_name
    return found


def _positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def is_on(value: object) -> bool:
    """Whether a setting on which a declared slot depends makes the class keep it: it is true, or more than 0."""
    return value is True or _positive(value)


def conditions(known: Iterable[Layout]) -> frozenset[str]:
    """The settings on which slots of these layouts depend."""
    return frozenset(kind.when.lstrip("!") for layout in known for kind in layout.kinds) - {""}


def wrapping_key(class_name: str) -> str:
    """The setting that holds the optimizer that a declared class is around; "" if none is declared to."""
    if class_name in CLASSES_BY_POPULARITY:
        return ""
    from ckptdoctor.optimizers import declared

    return next((each.wraps for each in declared.of(class_name) if each.wraps), "")


def _declared_generation(class_name: str, told: Generation | None) -> Generation | None:
    """The generation of a class: where its configuration's dialect has no such class, the only one declared."""
    if class_name in CLASSES_BY_POPULARITY or (told is not None and layouts(class_name, told)):
        return told
    from ckptdoctor.optimizers import declared

    known = {each.layout.generation for each in declared.of(class_name)}
    return known.pop() if len(known) == 1 else told


def _settings(
    class_name: str, generation: Generation | None, config: Mapping[str, object], schedule: Schedule | None
) -> Settings:
    flags = {name for name in ("amsgrad", "centered", "use_ema") if config.get(name) is True}
    for name in conditions(layouts(class_name, generation)).difference(FLAGS) if generation is not None else ():
        if is_on(config.get(name, (defaults_of(class_name, generation) or {}).get(name))):
            flags.add(name)
    if _positive(config.get("momentum")):
        flags.add("momentum")
    if _positive(config.get("gradient_accumulation_steps")):
        flags.add("gradient_accumulation")
    if schedule is not None:
        flags.add("schedule")
    patterns = config.get("exclude_layers")
    return Settings(
        flags=frozenset(flags),
        exclude_layers=tuple(p for p in patterns if isinstance(p, str)) if isinstance(patterns, (list, tuple)) else (),
        exclude_embeddings=config.get("exclude_embeddings") is not False,
    )


def told_by_slots(roles: Collection[Role], settings: Mapping[str, object]) -> dict[str, object]:
    """The settings without which an optimizer would not have slots of these roles, in addition to those it has.

    The momentum's own value does not matter to which slots there are: where none is recorded it is 0.9.
    """
    told: dict[str, object] = {}
    if Role.MAX_SECOND_MOMENT in roles:
        told["amsgrad"] = True
    if Role.MEAN_GRADIENT in roles:
        told["centered"] = True
    if Role.MOMENTUM in roles and not settings.get("momentum"):
        told["momentum"] = 0.9
    if Role.MOVING_AVERAGE in roles:
        told["use_ema"] = True
    return told
