"""From a path to the script that restores what it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from ckptdoctor import storage
from ckptdoctor.errors import NoRecipe
from ckptdoctor.examination import examine, with_libhdf5
from ckptdoctor.formats.registry import record
from ckptdoctor.recipes.writing import Script, render
from ckptdoctor.state import TrainingState

_ROOM = "ckptdoctor.recipes"
_WRITERS: Mapping[str, str] = {
    "torch": "torch:recipe",
    "lightning": "trainers:lightning",
    "transformers": "trainers:transformers",
    "accelerate": "trainers:accelerate",
    "distributed": "trainers:distributed",
    "engine": "engines:deepspeed",
    "baselines": "engines:baselines",
    "plain-weights": "engines:safetensors",
    "archive": "keras:archive",
    "h5": "keras:whole_h5",
    "weights": "keras:weights",
    "old-weights": "keras:old_weights",
    "dump": "keras:dump",
    "checkpoint": "tensorflow:checkpoint",
    "names": "tensorflow:names",
    "saved_model": "tensorflow:saved_model",
    "orbax": "jax:orbax",
    "flax": "jax:flax",
}
"""By what records of formats call it (`ArtifactFormat.recipe`)."""


def recipe(path: str) -> Script:
    """The script that restores an artifact by its framework.

    Args:
        path: A file, a directory (then its latest artifact), a checkpoint prefix.

    Raises:
        NoRecipe: No script is known for it.
        UnreadableArtifact: It cannot be read.
        UsageProblem: Nothing is there.
    """
    (found, *_) = examine(path)
    if found.error is not None:
        raise found.error
    state = found.state
    assert state is not None  # noqa: S101 - what has no error was read
    kind = record(state.format)
    if kind.recipe is None or kind.recipe not in _WRITERS:
        raise NoRecipe(f"no script restores {kind.called}: {kind.restored_by}", path)
    resolved = storage.absolute(found.resolved)
    return with_libhdf5(_written, state, resolved, sides=[found])


def _written(state: TrainingState, path: str) -> Script:
    module, _, name = _WRITERS[record(state.format).recipe or ""].partition(":")
    write: Callable[[TrainingState, str], Script] = getattr(import_module(f"{_ROOM}.{module}"), name)
    return write(state, path)


__all__ = ["recipe", "render"]
