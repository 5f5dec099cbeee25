"""Scripts for TensorFlow checkpoints and SavedModels."""

import os
from typing import NamedTuple

from ckptdoctor import storage
from ckptdoctor.containers.bundles.object_graph import read_object_graph
from ckptdoctor.containers.bundles.reading import read_bundle
from ckptdoctor.diagnosis.status import summary
from ckptdoctor.formats.registry import bundle
from ckptdoctor.formats.tensorflow.objects import classify
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.recipes import keras
from ckptdoctor.recipes.proof import close, compared, sample
from ckptdoctor.recipes.writing import MODEL, NEAREST, OPTIMIZER, RATE, Gap, Script, literal, model_gap
from ckptdoctor.state import OptimizerState, TrainingState

_TENSORFLOW = "import tensorflow as tf"
_BOOKKEEPING = ("save_counter",)
_OF_A_MODEL = ("layer", "_layers", "_functional", "keras_api", "variables")


class _Root(NamedTuple):
    """What hangs on the root of an object graph.

    Attributes:
        models: Attributes that are models.
        counters: Attributes that are variables, and their types.
        is_model: The root is the model itself.
    """

    models: tuple[str, ...]
    counters: tuple[tuple[str, str], ...]
    is_model: bool


def checkpoint(state: TrainingState, path: str) -> Script:
    """A checkpoint of objects or of names."""
    prefix = bundle(state.format, path) or path
    root = _root(prefix)
    if root is None:
        return names(state, path)
    return _objects(state, prefix, root)


def _root(prefix: str) -> _Root | None:
    stored = read_bundle(prefix)
    graph = read_object_graph(stored)
    if graph is None:
        return None
    objects = classify(graph, stored)
    own = {each.number for each in objects.optimizers} | {each.outer for each in objects.optimizers}
    models, counters = [], []
    for name, child in graph.nodes[0].children.items():
        ref = objects.tensor(child)
        if ref is not None and name not in _BOOKKEEPING and not ref.shape:
            counters.append((name, ref.dtype))
        elif child not in own and graph.nodes[child].children:
            models.append(name)
    is_model = any(name.startswith(_OF_A_MODEL) for name in graph.nodes[0].children)
    return _Root(tuple(models), tuple(counters), is_model)


def _objects(state: TrainingState, prefix: str, root: _Root) -> Script:
    """The optimizer is built before it is restored, so that every slot is there to be compared."""
    kind = keras.package(state)
    gaps: list[Gap] = []
    several = len(root.models) > 1 and not root.is_model
    says = "The program's own model, as it was trained." if not several else (
        f"The program's own models: a dictionary of {', '.join(map(literal, root.models))}."
    )  # fmt: skip
    gaps.append(model_gap(state, says))
    body = [f"{'models' if several else 'model'} = {MODEL}()"]
    attached: list[str] = []
    if several:
        attached += [f"{literal(name)}: models[{literal(name)}]" for name in root.models]
    elif root.models and not root.is_model:
        attached += [f"{literal(root.models[0])}: model"]
    proof: list[str] = []
    for each in state.optimizers:
        if not (each.has_state and each.class_name):
            continue
        place = f"optimizer_{len(proof)}" if proof else "optimizer"
        body += [f"{place} = {_made(each, kind, gaps)}", *_built(each, place, several=several)]
        if "/" not in each.name and not root.is_model:
            attached.append(f"{literal(each.name)}: {place}")
        else:  # it hangs on the model, as what compile() was given does
            body.append(f'model.compile(optimizer={place}, loss="mse")  # the loss of the program')
        proof += _proven(each, place)
    for name, dtype in root.counters:
        if not root.is_model:
            attached.append(f"{literal(name)}: tf.Variable({'0' if 'int' in dtype else '0.0'}, dtype=tf.{dtype})")
    made = "tf.train.Checkpoint(root=model)" if root.is_model else f"tf.train.Checkpoint(**{{{', '.join(attached)}}})"
    body += [f"checkpoint = {made}", "status = checkpoint.restore(PATH)"]
    body += ["status.expect_partial()  # metrics and iterators of the program may stay where they are"]
    return Script(
        title=summary(state),
        framework=f"TensorFlow with {'Keras 3' if kind == 'keras' else 'tf.keras'}",
        packages=("tensorflow", *(() if kind == "keras" else ("tf-keras",))),
        imports=keras.imports(kind, "import numpy as np", _TENSORFLOW),
        path=prefix,
        gaps=tuple(gaps),
        body=tuple(body),
        proof=tuple(proof),
        gives="models" if several else "model",
    )


def _made(each: OptimizerState, kind: str, gaps: list[Gap]) -> str:
    if kind == "tensorflow":  # tf.compat.v1's, in an object graph
        if not any(gap.signature.startswith(OPTIMIZER) for gap in gaps):
            gaps.append(Gap(f"{OPTIMIZER}()", f"The program's tf.compat.v1 optimizer, of class {each.class_name}."))
        return f"{OPTIMIZER}()"
    if keras.scheduled(each) and not any(gap.signature.startswith(RATE) for gap in gaps):
        gaps.append(keras.rate_gap())
    home = "keras.optimizers.legacy" if dialect(each.generation).legacy else "keras.optimizers"
    return keras.constructor(each, home)


def _built(each: OptimizerState, place: str, *, several: bool) -> list[str]:
    trained = "[variable for model in models.values() for variable in model.trainable_variables]" if several else (
        "model.trainable_variables"
    )  # fmt: skip
    if several:  # which of the models it trains, its slots tell
        owners = sorted(
            {(slot.tensor.key.partition("/")[0]) for slot in each.slots if ".OPTIMIZER_SLOT" in slot.tensor.key}
        )
        if len(owners) == 1:
            trained = f"models[{literal(owners[0])}].trainable_variables"
    if dialect(each.generation).by_graph:
        return []
    if dialect(each.generation).legacy:
        return [f"{place}._create_all_weights({trained})"]
    return [f"{place}.build({trained})"]


def _proven(each: OptimizerState, place: str) -> list[str]:
    lines: list[str] = []
    if each.iterations is not None and not dialect(each.generation).by_graph:
        lines += compared("iterations", f"int(np.asarray({place}.iterations))", each.iterations)
    told = sample(each)
    if told is not None:
        values = keras.VARIABLES.format(place)
        lines += close("a slot", f"{NEAREST}({values}, {told.norm:.7g})", told.norm)
    return lines


def names(state: TrainingState, path: str) -> Script:
    """A checkpoint of names: the graph of the training script, restored by its own Saver."""
    proof: list[str] = []
    each = next((one for one in state.optimizers if one.has_state), None)
    if each is not None and each.iterations is not None and each.iterations_key:
        proof += compared("the step", f"int(session.run(held[{literal(each.iterations_key)}]))", each.iterations)
    told = sample(each) if each is not None else None
    if told is not None:
        value = f"session.run(held[{literal(told.slot.tensor.key)}])"
        proof += close("a slot", f"float(np.linalg.norm({value}.astype(np.float64)))", told.norm)
    gap = model_gap(
        state, "Builds the graph of the training script, with its optimizer and its step: all variables of the program."
    )
    return Script(
        title=summary(state),
        framework="TensorFlow 1, or tf.compat.v1",
        packages=("tensorflow",),
        imports=("import numpy as np", "import tensorflow.compat.v1 as tf"),
        path=path,
        gaps=(gap._replace(told=(*gap.told, *(_trained_by(each) if each is not None else ()))),),
        body=(
            "tf.disable_v2_behavior()",
            f"{MODEL}()",
            "held = {variable.op.name: variable for variable in tf.global_variables()}",
            "session = tf.Session()",
            "tf.train.Saver().restore(session, PATH)",
        ),
        proof=tuple(proof),
        gives="session",
    )


def _trained_by(each: OptimizerState) -> tuple[str, ...]:
    return (f"trained by {each.class_name or 'an optimizer'}, called {each.name or each.class_name}",)


def saved_model(state: TrainingState, path: str) -> Script:
    """A SavedModel of tf.keras holds the whole model; one that Keras 3 exported only its variables."""
    kind = keras.package(state)
    if kind == "keras" or not _has_keras_metadata(path):
        return checkpoint(state, path)
    inside = 'os.path.join(PATH, "variables", "variables")'
    body = ["model = keras.models.load_model(PATH)"]
    own = [each for each in state.optimizers if each.has_state and each.class_name]
    if own:
        legacy = dialect(own[0].generation).legacy
        home = "keras.optimizers.legacy" if legacy else "keras.optimizers"
        body += [
            'if type(getattr(model, "optimizer", None)).__name__ in {"NoneType", "RestoredOptimizer"}:',
            f'    model.compile(optimizer={keras.constructor(own[0], home)}, loss="mse")  # the loss of the program',
            "model.optimizer._create_all_weights(model.trainable_variables)" if legacy
            else "model.optimizer.build(model.trainable_variables)",
            f"model.load_weights({inside})  # load_model alone leaves the slots behind",
        ]  # fmt: skip
    return Script(
        title=summary(state),
        framework="TensorFlow with tf.keras",
        packages=("tensorflow", "tf-keras"),
        imports=keras.imports(kind, "import numpy as np"),
        path=path,
        gaps=(keras.rate_gap(),) if own and keras.scheduled(own[0]) else (),
        body=tuple(body),
        proof=("optimizer = model.optimizer", *_proven(own[0], "optimizer")) if own else (),
        gives="model",
    )


def _has_keras_metadata(path: str) -> bool:
    return storage.is_file(os.path.join(path, "keras_metadata.pb"))
