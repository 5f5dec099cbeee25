"""Scripts for trees of JAX programs: Orbax and flax restore them into a target of the program's own."""

from __future__ import annotations

import os

from ckptdoctor import storage
from ckptdoctor.diagnosis.loader_table import rows
from ckptdoctor.diagnosis.status import summary
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.recipes import keras
from ckptdoctor.recipes.proof import close, compared, sample
from ckptdoctor.recipes.writing import MODEL, Script, literal, model_gap
from ckptdoctor.state import TrainingState

_TARGET = (
    "What the program saved, as it makes it before training: the TrainState, or a dictionary of params and opt_state."
)


def orbax(state: TrainingState, path: str) -> Script:
    """A step: of Keras' OrbaxCheckpoint, or of a program's own tree."""
    if any(dialect(each.generation).package == "keras" for each in state.optimizers) or state.callback:
        # Where the table knows that load_model loses something, the program's own model takes it.
        configured = storage.is_dir(os.path.join(path, "model_config")) and not rows(state)
        return keras.orbax(state, path, os.path.dirname(path), configured=configured)
    item = _item(state, path)
    return _tree(
        state,
        item,
        front=os.path.relpath(item, path) + "/" if item != path else "",
        library=("flax", "Orbax", "import orbax.checkpoint as ocp"),  # flax brings Orbax
        restored="tree = ocp.StandardCheckpointer().restore(PATH, target)",
    )


def flax(state: TrainingState, path: str) -> Script:
    """A document of flax' msgpack."""
    return _tree(
        state,
        path,
        front="",
        library=("flax", "flax", "from flax import serialization"),
        restored='tree = serialization.from_bytes(target, open(PATH, "rb").read())',
    )


def _item(state: TrainingState, path: str) -> str:
    """The directory of the item that holds the state; the path itself where that stands alone."""
    keys = [slot.tensor.key for each in state.optimizers for slot in each.slots]
    keys += [each.tensor.key for each in state.variables]
    first = next((key.partition("/")[0] for key in keys), "")
    inside = os.path.join(path, first)
    return inside if first and storage.exists(os.path.join(inside, "_METADATA")) else path


def _tree(state: TrainingState, path: str, *, front: str, library: tuple[str, str, str], restored: str) -> Script:
    package, name, statement = library
    proof: list[str] = []
    each = next((one for one in state.optimizers if one.has_state), None)
    if each is not None and each.iterations is not None and each.iterations_key:
        key = literal(each.iterations_key.removeprefix(front))
        proof += compared("the count", f"int(leaves[{key}])", each.iterations)
    told = sample(each) if each is not None else None
    if told is not None:
        key = literal(told.slot.tensor.key.removeprefix(front))
        proof += close("a slot", f"float(np.linalg.norm(np.asarray(leaves[{key}], np.float64)))", told.norm)
    if proof:
        proof = [
            "def name(part):",
            '    return next(str(getattr(part, each)) for each in ("key", "idx", "name") if hasattr(part, each))',
            "",
            "found = jax.tree_util.tree_leaves_with_path(tree)",
            'leaves = {"/".join(map(name, where)): leaf for where, leaf in found}',
            *proof,
        ]
    return Script(
        title=summary(state),
        framework=f"JAX with {name}",
        packages=("jax", "optax", package),
        imports=("import jax", "import numpy as np", statement),
        path=path,
        gaps=(model_gap(state, _TARGET),),
        body=(f"target = {MODEL}()", restored),
        proof=tuple(proof),
        gives="tree",
    )
