"""Artifacts of PyTorch and of Keras side by side: PyTorch's is said in Keras' words first, as a graft would."""

from typing import NamedTuple

from ckptdoctor.crossing.to_keras import as_keras
from ckptdoctor.crossing.wishes import Wishes
from ckptdoctor.errors import GraftRefused
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.state import OptimizerState, TrainingState


class Sides(NamedTuple):
    """Both states, and what was done to compare them."""

    a: TrainingState
    b: TrainingState
    notes: tuple[str, ...] = ()


def in_one(a: TrainingState, b: TrainingState) -> Sides:
    """Both in one vocabulary, as far as there is a translation."""
    if _is_torch(a) and _is_keras(b):
        state, notes = _translated(a, b, "A")
        return Sides(state, b, notes)
    if _is_torch(b) and _is_keras(a):
        state, notes = _translated(b, a, "B")
        return Sides(a, state, notes)
    return Sides(a, b)


def _is_torch(state: TrainingState) -> bool:
    return any(each.stored is not None for each in state.optimizers)


def _is_keras(state: TrainingState) -> bool:
    known = [dialect(each.generation) for each in state.optimizers]
    return any(each.program == "keras" and each.package for each in known)


def _translated(state: TrainingState, other: TrainingState, name: str) -> tuple[TrainingState, tuple[str, ...]]:
    optimizers: list[OptimizerState] = []
    notes: list[str] = []
    said: TrainingState | None = None
    for each in state.optimizers:
        try:
            crossed = as_keras(state, each, other, Wishes())
        except GraftRefused as error:
            optimizers.append(each)
            notes.append(f"{name}'s {each.class_name or 'optimizer'} is not Keras' in other words: {error.message}")
            continue
        said = crossed.state
        optimizers.append(crossed.optimizer)
        notes.append(
            f"{name} is PyTorch's, and is compared in Keras' words: axes exchanged, momentum scaled by the rate"
        )
    return (said or state)._replace(optimizers=tuple(optimizers)), tuple(dict.fromkeys(notes))
