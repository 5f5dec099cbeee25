"""The configuration of a model that Keras 2.12 and later write beside its weights, compiled with another optimizer."""

from __future__ import annotations

from collections.abc import Mapping

from ckptdoctor.formats.keras.writing.losses import chosen_loss, loss_of
from ckptdoctor.optimizers.keras.serialize import Form, require_agreement, to_config
from ckptdoctor.optimizers.planned import PlannedOptimizer

_INNER = "inner_optimizer"


def compiled(
    optimizer: PlannedOptimizer, document: Mapping[str, object], version: str | None, loss_from: str | None
) -> tuple[dict[str, object] | None, tuple[str, ...]]:
    """A model's configuration with the optimizer in `compile_config`.

    Args:
        optimizer: The optimizer.
        document: The configuration as it is.
        version: The Keras that wrote it; None where that is not known.
        loss_from: An artifact that tells the loss, where the model was saved uncompiled.

    Returns:
        The configuration, None where it stays as it is; and sentences about it.

    Raises:
        GraftRefused: The generation cannot express the optimizer, or the configuration contradicts its state.
    """
    settings = document.get("compile_config")
    has_optimizer = isinstance(settings, dict) and isinstance(settings.get("optimizer"), (dict, str))
    if optimizer.configured and isinstance(settings, dict) and has_optimizer:
        require_agreement(settings["optimizer"], optimizer)
        return None, ()
    serialized = to_config(optimizer, Form.OBJECT, package="tf_keras" if _by_tf_keras(version) else "keras")
    require_agreement(serialized, optimizer)
    if isinstance(settings, dict) and "loss" in settings:
        chosen = _within(settings.get("optimizer"), serialized)
        return {**document, "compile_config": {**settings, "optimizer": chosen}}, ()
    found = None if loss_from is None else loss_of(loss_from)
    loss, note = chosen_loss(found, optimizer.generation, Form.OBJECT, version)
    fresh = {  # an uncompiled model has none, or an empty one
        "optimizer": serialized,
        "loss": loss,
        "loss_weights": None,
        "metrics": None,
        "weighted_metrics": None,
    }
    return {**document, "compile_config": fresh}, (note,)


def _within(there: object, serialized: dict[str, object]) -> dict[str, object]:
    """An optimizer within the wrapper that is there: how a loss scale grows, state does not tell."""
    old, new = (each.get("config") if isinstance(each, dict) else None for each in (there, serialized))
    if not isinstance(there, dict) or not isinstance(old, dict) or not isinstance(new, dict):
        return serialized
    if there.get("class_name") != serialized.get("class_name") or not {_INNER} <= old.keys() & new.keys():
        return serialized
    return {**there, "config": {**old, _INNER: new[_INNER]}}


def _by_tf_keras(version: str | None) -> bool:
    from ckptdoctor.formats.keras.producer import producer

    return producer(version).framework == "tf_keras"
