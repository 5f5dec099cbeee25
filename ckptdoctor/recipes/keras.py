"""Scripts for files of Keras: archives and HDF5 that hold the whole model, and weights."""

from __future__ import annotations

import os
import re

from ckptdoctor.diagnosis.loader_table import rows
from ckptdoctor.diagnosis.status import summary
from ckptdoctor.errors import NoRecipe
from ckptdoctor.formats.registry import record
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.keras.config import told_by_slots
from ckptdoctor.recipes.proof import Sample, close, compared, sample
from ckptdoctor.recipes.writing import MODEL, NEAREST, RATE, Gap, Script, literal, model_gap
from ckptdoctor.state import OptimizerState, Role, TrainingState

COMPILED = "optimizer"
"""What readers call the optimizer of `model.compile`."""
OF_TENSORFLOW = (
    "try:",
    "    import tf_keras as keras  # beside TensorFlow 2.16 and later",
    "except ImportError:",
    "    from tensorflow import keras  # up to 2.15",
)
_SETTINGS = (
    "beta_1", "beta_2", "rho", "epsilon", "momentum", "nesterov", "weight_decay", "initial_accumulator_value",
    "clipnorm", "clipvalue", "global_clipnorm", "use_ema", "ema_momentum", "amsgrad", "centered",
    "gradient_accumulation_steps",
)  # fmt: skip
_NUMBER = re.compile(r"(?:^|/)(?:_?vars|_variables)/(?P<index>\d{1,9})(?:/|\Z)")
LOSS = 'loss="mse")  # the loss of the program'
_SCALING = "keras.optimizers.LossScaleOptimizer"
INNER = 'optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)'


def package(state: TrainingState) -> str:
    """The package whose optimizers it holds: `keras`, `tf_keras`, `tensorflow` or `standalone`."""
    found = {dialect(each.generation).package for each in state.optimizers if each.generation} - {""}
    if found:
        return min(found)
    told = state.producer.framework
    if told in {"tf.keras", "tf_keras", "tensorflow"}:
        return "tf_keras"
    return "keras" if (state.producer.version or "3")[0] == "3" else "tf_keras"


def imports(kind: str, *more: str) -> tuple[str, ...]:
    """The import statements for a package."""
    own = ("import keras",) if kind in {"keras", "standalone"} else OF_TENSORFLOW
    return (*more, *own)


def packages(kind: str) -> tuple[str, ...]:
    """What has to be installed."""
    if kind == "standalone":
        return ("'keras<2.4'", "h5py")
    return ("keras",) if kind == "keras" else ("tensorflow", "tf-keras")


def _framework(state: TrainingState, kind: str) -> str:
    name = {"keras": "Keras 3", "standalone": "standalone Keras"}.get(kind, "tf.keras (tf_keras)")
    version = state.producer.version
    return f"{name}, which wrote it as {version}" if version else name


def archive(state: TrainingState, path: str) -> Script:
    """A `.keras`: load_model; where the table of loaders says that it loses the state, load_weights once more."""
    kind = package(state)
    by_weights = "archive-load-weights"
    lost = [each.row.instead for each in rows(state) if each.row.instead is not None]
    if any(each.attempt == by_weights for each in lost):
        body = [
            "model = keras.models.load_model(PATH, compile=False)",
            *_from_config(state),
            *_scaled(state, _SCALING),
            f"model.compile(optimizer=optimizer, {LOSS}",
            "model.optimizer.build(model.trainable_variables)",
            "model.load_weights(PATH)",
        ]
    else:
        body = ["model = keras.models.load_model(PATH)"]
    return _whole(state, path, kind, (), body)


def _from_config(state: TrainingState) -> list[str]:
    """Lines that make the optimizer of the stored configuration; where it names none, one that keeps the same."""
    own = next((each for each in state.optimizers if each.has_state), None)
    if own is not None and own.class_inferred and own.class_name:
        return [f"optimizer = {constructor(own._replace(wrapper=None))}"]
    return [
        "with zipfile.ZipFile(PATH) as file:",
        '    config = json.loads(file.read("config.json"))["compile_config"]["optimizer"]',
        "optimizer = keras.optimizers.get(config)",
    ]


def _whole(
    state: TrainingState, path: str, kind: str, extra: tuple[str, ...], body: list[str], *, held: str = ""
) -> Script:
    return Script(
        title=summary(state),
        framework=_framework(state, kind),
        packages=packages(kind),
        imports=imports(kind, *extra, "import numpy as np"),
        path=path,
        gaps=(),
        body=tuple(body),
        proof=tuple(proven(state, held)),
        gives="model",
        notes=_notes(state),
    )


def _notes(state: TrainingState) -> tuple[str, ...]:
    found = [f"{each.row.call} alone: {each.row.does}" for each in rows(state)]
    if any(each.code == "X001" for each in state.oddities):
        found.append(
            "the model has Python code in it, which load_model runs with safe_mode=False: only if you trust it"
        )
    others = [each.name for each in state.optimizers if each.name != COMPILED]
    if others:
        found.append(
            f"its optimizers {', '.join(others)} are attributes of the model: custom_objects has to give its class"
        )
    return tuple(dict.fromkeys(found))


def proven(state: TrainingState, held: str = "") -> list[str]:
    """Lines that prove the count and a slot of the compiled optimizer.

    Args:
        state: What the artifact holds.
        held: The list of variables in which the slot is the one of its number.
    """
    each = next((one for one in state.optimizers if one.has_state), None)
    if each is None:
        return []
    lines = [INNER]
    if each.iterations is not None:
        accumulates = any(slot.role is Role.GRADIENT_ACCUMULATOR for slot in each.slots)
        stored = "optimizer._iterations" if accumulates else "optimizer.iterations"  # which counts full batches alone
        lines += compared("iterations", f"int(np.asarray({stored}))", each.iterations)
    told = sample(each)
    if told is not None:
        lines += _norm(each, told, held)
    return lines


def _norm(each: OptimizerState, told: Sample, held: str) -> list[str]:
    """The slot at its number in the optimizer's list; where the file has no numbers, whichever has its norm."""
    match = _NUMBER.search(told.slot.tensor.key)
    what = f"slot {told.slot.name}".replace('"', "").replace("{", "").replace("}", "").replace("\\", "")
    if match is not None and not dialect(each.generation).legacy and not held:
        variable = f"np.asarray(model.optimizer.variables[{int(match['index'])}])"
        return close(what, f"float(np.linalg.norm({variable}.astype(np.float64)))", told.norm)
    values = held or VARIABLES
    return close(what, f"{NEAREST}({values.format('optimizer')}, {told.norm:.7g})", told.norm)


VARIABLES = "({0}.variables() if callable({0}.variables) else {0}.variables)"
"""A method up to Keras 2.10."""


def whole_h5(state: TrainingState, path: str) -> Script:
    """A whole model in HDF5: its optimizer made from the stored configuration, and assigned variable by variable.

    load_model of Keras 3 drops this state, and one of another generation takes it in another order.
    """
    kind = package(state)
    if kind == "standalone" or not any(each.slots for each in state.optimizers):
        return _whole(state, path, kind, (), ["model = keras.models.load_model(PATH)"])
    legacy = dialect(state.optimizers[0].generation).legacy
    body = [
        "model = keras.models.load_model(PATH, compile=False)",
        'with h5py.File(PATH, "r") as file:',
        '    config = json.loads(file.attrs["training_config"])["optimizer_config"]',
        '    group = file["optimizer_weights"]',
        '    parts = [each for each in group.attrs if each.startswith("weight_names")]  # cut in pieces, if it is long',
        "    parts.sort(key=lambda each: (len(each), each))",
        "    values = [group[name][()] for part in parts for name in group.attrs[part]]",
    ]
    if legacy:
        body += [
            *_OF_LEGACY[any(each.wrapper is not None and each.wrapper.configured for each in state.optimizers)],
            *_scaled(state, "keras.mixed_precision.LossScaleOptimizer"),
            *_OF_LIST,
        ]
    else:
        body += [
            "optimizer = keras.optimizers.get(config)",
            *_scaled(state, _SCALING),
            "optimizer.build(model.trainable_variables)",
            *_ASSIGNED,
        ]
    body.append(f"model.compile(optimizer=optimizer, {LOSS}")
    return _whole(state, path, kind, ("import h5py",), body)


_ASSIGNED = (
    "held = list(optimizer.variables)",
    "if len(held) == len(values) + 1:  # Keras 3 keeps the rate in second place, which older files lack",
    "    values.insert(1, np.asarray(held[1]))",
    "assert len(held) == len(values), (len(held), len(values))",
    "for variable, value in zip(held, values):",
    "    variable.assign(value)",
)
_OF_LEGACY = (
    (
        'home = getattr(keras.optimizers, "legacy", keras.optimizers)',
        'optimizer = getattr(home, config["class_name"]).from_config(config["config"])',
    ),
    ("optimizer = keras.optimizers.deserialize(config, use_legacy_optimizer=True)",),
)
"""Without and with a LossScaleOptimizer around it, which stands elsewhere."""


def _scaled(state: TrainingState, wrapper: str) -> list[str]:
    scaled = any(each.wrapper is not None and not each.wrapper.configured for each in state.optimizers)
    return [f"optimizer = {wrapper}(optimizer)"] if scaled else []


def weights(state: TrainingState, path: str) -> Script:
    """A `.weights.h5`: the optimizer is built before, or load_weights of some versions drops its state in silence."""
    kind = package(state)
    gaps = [
        model_gap(state, "The program's own model, as it was trained; compiled with its own optimizer, if it has one.")
    ]
    body = [f"model = {MODEL}()"]
    own = [each for each in state.optimizers if each.name == COMPILED and each.has_state]
    if own and own[0].class_name:
        if scheduled(own[0]):
            gaps.append(rate_gap())
        body += [
            'if getattr(model, "optimizer", None) is None:',
            f"    model.compile(optimizer={constructor(own[0])}, {LOSS}",
            "model.optimizer.build(model.trainable_variables)",
        ]
    body.append("model.load_weights(PATH)")
    script = _whole(state, path, kind, (), body)
    return script._replace(gaps=tuple(gaps), proof=script.proof if own else ())


def old_weights(state: TrainingState, path: str) -> Script:
    """Weights in the old layout of HDF5, which hold no optimizer."""
    script = _whole(state, path, package(state), (), [f"model = {MODEL}()", "model.load_weights(PATH)"])
    return script._replace(gaps=(model_gap(state, "The program's own model, as it was trained."),))


_DUMPED = {
    ".npz": ("with np.load(PATH) as file:", "    values = [file[name] for name in file.files]"),
    ".npy": ("values = list(np.load(PATH, allow_pickle=True))  # which runs what it says: only one that you trust",),
    "": (
        'with open(PATH, "rb") as file:',
        "    values = list(pickle.load(file))  # which runs what a pickle says: only one that you trust",
    ),
}


def dump(state: TrainingState, path: str) -> Script:
    """A list of an optimizer's variables: it goes into the optimizer of the program's model, by its places.

    Raises:
        NoRecipe: It is no plain list, or of no known optimizer of Keras.
    """
    own = state.optimizers[0] if len(state.optimizers) == 1 else None
    listed = own is not None and all(_PLACE.match(each.tensor.key) for each in own.slots)
    if own is None or not own.class_name or not own.slots or not listed:
        otherwise = record(state.format).restored_by
        raise NoRecipe(f"it is no plain list of a known optimizer's variables: {otherwise}", path)
    legacy = dialect(own.generation).legacy
    gaps = [model_gap(state, "The program's own model, as it was trained; its weights lie elsewhere: load them too.")]
    gaps += [rate_gap()] if scheduled(own) else []
    home = 'getattr(keras.optimizers, "legacy", keras.optimizers)' if legacy else "keras.optimizers"
    body = [
        f"model = {MODEL}()",
        *_DUMPED.get(os.path.splitext(path)[1].lower(), _DUMPED[""]),
        f"optimizer = {constructor(own, home)}",
        *(_OF_LIST if legacy else ("optimizer.build(model.trainable_variables)", *_ASSIGNED)),
        f"model.compile(optimizer=optimizer, {LOSS}",
    ]
    script = _whole(state, path, package(state), ("import pickle",), body)
    return script._replace(gaps=tuple(gaps))


_PLACE = re.compile(r"(?:\[\d{1,9}\]|arr_\d{1,9})\Z")
_OF_LIST = ("optimizer._create_all_weights(model.trainable_variables)", "optimizer.set_weights(values)")


def rate_gap() -> Gap:
    """The rate or its schedule, where the artifact does not hold it."""
    return Gap(
        f"{RATE}()",
        "The program's learning rate, or its schedule, such as keras.optimizers.schedules.CosineDecay(0.01, 1000).",
    )


def scheduled(each: OptimizerState) -> bool:
    """Whether a schedule sets the rate that the artifact does not describe."""
    if each.schedule is not None or each.scheduled:
        return each.schedule is None
    if "learning_rate" in each.hyperparameters:
        return False
    return not any(one.name.lstrip("_") == "learning_rate" for one in each.other)


def constructor(each: OptimizerState, home: str = "keras.optimizers") -> str:
    """The call that makes an optimizer which keeps the same variables."""
    roles = {slot.role for slot in each.slots}
    settings = {
        name: value for name, value in each.hyperparameters.items() if name in _SETTINGS and value not in (None, False)
    }
    if not settings.get("use_ema"):
        settings.pop("ema_momentum", None)
    settings |= told_by_slots(roles, settings)
    rate = each.hyperparameters.get("learning_rate")
    stored = next((one.value for one in each.other if one.name.lstrip("_") == "learning_rate"), None)
    first = f"{RATE}()" if scheduled(each) else repr(rate if isinstance(rate, float) else stored or 0.001)
    told = "".join(f", {name}={literal(value)}" for name, value in settings.items())
    made = f"{home}.{each.class_name}({first}{told})"
    return (
        f"keras.optimizers.LossScaleOptimizer({made})"
        if each.wrapper is not None and each.wrapper.scales_loss
        else made
    )


def orbax(state: TrainingState, path: str, root: str, *, configured: bool) -> Script:
    """A step of Keras' OrbaxCheckpoint."""
    if configured:
        return _whole(state, root, "keras", (), ["model = keras.saving.load_model(PATH)"], held=_BY_NAME)
    gaps = [model_gap(state, "The program's own model, as it was trained, compiled with its own optimizer.")]
    body = [
        f"model = {MODEL}()",
        "model.optimizer.build(model.trainable_variables)",
        "model.load_weights(PATH)",
    ]
    del path
    return _whole(state, root, "keras", (), body, held=_BY_NAME)._replace(gaps=tuple(gaps))


_BY_NAME = "optimizer.variables"
"""Its tree goes by names, so that a slot is found by what it holds."""
