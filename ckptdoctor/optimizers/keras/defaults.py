"""What every optimizer class is configured with unless told otherwise, by generation: a table of facts.

Sources: `get_config` of a default instance of each class, in `keras` 1.2.2 to 2.3.1, `tf.keras` 1.15 to 2.10 (and
`optimizers.legacy` of 2.15 and tf_keras), `keras` 2.15 and `tf_keras` 2.21, and `keras` 3.15. The order is that of the
configuration. tests/real/test_graft_keras.py holds the table against the classes themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from ckptdoctor.state import Generation

Config: TypeAlias = dict[str, object]

_KERAS3: Config = {
    "weight_decay": None,
    "clipnorm": None,
    "global_clipnorm": None,
    "clipvalue": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}
"""keras.src.optimizers.base_optimizer.BaseOptimizer.get_config, without name and learning rate."""

_KERAS2: Config = {
    "weight_decay": None,
    "clipnorm": None,
    "global_clipnorm": None,
    "clipvalue": None,
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "jit_compile": False,
    "is_legacy_optimizer": False,
}
"""tf_keras.src.optimizers.optimizer._BaseOptimizer.get_config; `jit_compile` is what a machine without a GPU has."""

_BETAS: Config = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-07}
_ADAM: Config = {**_BETAS, "amsgrad": False}
_RMSPROP: Config = {"rho": 0.9, "momentum": 0.0, "epsilon": 1e-07, "centered": False}
_SGD: Config = {"momentum": 0.0, "nesterov": False}
_ADADELTA: Config = {"rho": 0.95, "epsilon": 1e-07}
_ADAGRAD: Config = {"initial_accumulator_value": 0.1, "epsilon": 1e-07}
_FTRL: Config = {
    "learning_rate_power": -0.5,
    "initial_accumulator_value": 0.1,
    "l1_regularization_strength": 0.0,
    "l2_regularization_strength": 0.0,
    "l2_shrinkage_regularization_strength": 0.0,
    "beta": 0.0,
}
_ADAFACTOR: Config = {
    "beta_2_decay": -0.8,
    "epsilon_1": 1e-30,
    "epsilon_2": 0.001,
    "clip_threshold": 1.0,
    "relative_step": True,
}
_LION: Config = {"beta_1": 0.9, "beta_2": 0.99}
_MUON: Config = {
    "adam_beta_1": 0.9,
    "adam_beta_2": 0.999,
    "epsilon": 1e-07,
    "exclude_layers": [],
    "muon_a": 3.4445,
    "muon_b": -4.775,
    "muon_c": 2.0315,
    "adam_lr_ratio": 1,
    "momentum": 0.95,
    "ns_steps": 5,
    "nesterov": True,
    "exclude_embeddings": True,
    "adam_weight_decay": 0.004,
    "rms_rate": 0.2,
}

_SHARED: dict[str, Config] = {
    "Adadelta": _ADADELTA,
    "Adafactor": _ADAFACTOR,
    "Adagrad": _ADAGRAD,
    "Adam": _ADAM,
    "AdamW": {**_ADAM, "weight_decay": 0.004},
    "Adamax": _BETAS,
    "Ftrl": _FTRL,
    "Lion": _LION,
    "Nadam": _BETAS,
    "RMSprop": _RMSPROP,
    "SGD": _SGD,
}
"""The classes that the rewritten optimizers of TensorFlow 2.11 and Keras 3 have in common, and configure alike."""


def _with(head: Config, rates: Mapping[str, float], classes: Mapping[str, Config]) -> dict[str, Config]:
    return {name: {"learning_rate": rates.get(name, 0.001), **head, **own} for name, own in classes.items()}


def _keras1() -> dict[str, Config]:
    rates = {"SGD": 0.01, "Adagrad": 0.01, "Adadelta": 1.0, "Adamax": 0.002, "Nadam": 0.002}
    own: dict[str, Config] = {
        "SGD": {"momentum": 0.0, "decay": 0.0, "nesterov": False},
        "RMSprop": {"rho": 0.9, "decay": 0.0, "epsilon": 1e-07},
        "Adagrad": {"decay": 0.0, "epsilon": 1e-07},
        "Adadelta": {"rho": 0.95, "decay": 0.0, "epsilon": 1e-07},
        "Adam": {"beta_1": 0.9, "beta_2": 0.999, "decay": 0.0, "epsilon": 1e-07, "amsgrad": False},
        "Adamax": {"beta_1": 0.9, "beta_2": 0.999, "decay": 0.0, "epsilon": 1e-07},
        "Nadam": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-07, "schedule_decay": 0.004},
    }
    return _with({}, rates, own)


def _optimizer_v2() -> dict[str, Config]:
    names = ("Adadelta", "Adagrad", "Adam", "Adamax", "Ftrl", "Nadam", "RMSprop", "SGD")
    tables = _with({"decay": 0.0}, {"SGD": 0.01}, {name: _SHARED[name] for name in names})
    tables["Nadam"]["decay"] = 0.004  # OptimizerV2's Nadam keeps its `schedule_decay` there
    return tables


def _keras2() -> dict[str, Config]:
    tables = _with(_KERAS2, {"SGD": 0.01, "Lion": 0.0001}, _SHARED)
    tables["RMSprop"]["ema_overwrite_frequency"] = 100
    return tables


def _keras3() -> dict[str, Config]:
    own = {
        **_SHARED,
        "Lamb": _BETAS,
        "Muon": {**_MUON, "weight_decay": 0.004},
        "ScheduleFreeAdamW": {**_BETAS, "epsilon": 1e-08, "warmup_steps": 0},
    }
    return _with(_KERAS3, {"SGD": 0.01, "ScheduleFreeAdamW": 0.0025}, own)


DEFAULTS: Mapping[Generation, Mapping[str, Config]] = {
    Generation.KERAS1: _keras1(),
    Generation.OPTIMIZER_V2: _optimizer_v2(),
    Generation.KERAS2: _keras2(),
    Generation.KERAS3: _keras3(),
}
"""Generation → class → configuration, without its name, under Keras 3's names (Keras 1 writes `lr`)."""

OPTIONAL: Mapping[Generation, frozenset[str]] = {
    Generation.KERAS1: frozenset({"clipnorm", "clipvalue"}),
    Generation.OPTIMIZER_V2: frozenset({"clipnorm", "clipvalue", "global_clipnorm"}),
    Generation.KERAS2: frozenset(),
    Generation.KERAS3: frozenset(),
}
"""Arguments of every class of a generation that stand in its configuration only if they are set."""

ADDED: Mapping[Generation, frozenset[str]] = {
    Generation.OPTIMIZER_V2: frozenset({"beta"}),  # Ftrl's, since TensorFlow 2.3
}
"""Arguments that a generation's first versions refuse; at their default they are left out, which means the same."""


def defaults_of(class_name: str | None, generation: Generation | None) -> Config | None:
    """What a class is configured with unless told otherwise; None where neither table nor declaration tells."""
    table = DEFAULTS.get(generation, {}) if generation is not None else {}
    if not class_name or class_name in table or generation not in DEFAULTS:
        return table.get(class_name or "")
    from ckptdoctor.optimizers import declared  # which knows the catalogue

    known = (each for each in declared.of(class_name) if each.layout.generation is generation)
    return next((dict(each.defaults) for each in known if each.defaults), None)
