"""Directories of Keras' OrbaxCheckpoint: `load_model` of the root, then `load_weights` into the program's model."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from ckptdoctor.verification.child import models, scripts, standins, weights
from ckptdoctor.verification.child.attempts import Attempt


def attempts(framework: Any, request: dict[str, Any]) -> Iterator[Attempt]:
    """`load_model`, where a configuration lies beside the tree; then `load_weights` with the optimizer built.

    A program that is given loads as itself: by `load_weights`.
    """
    text = _configuration(request["path"])
    if text is not None and request["script"] is None:
        yield Attempt(
            "orbax-load-model",
            "keras.saving.load_model(path)",
            lambda: models.taken(models.load(framework, _root(request)), request),
        )
    if text is not None or request["model"] is not None or request["script"] is not None:
        yield Attempt(
            "orbax-load-weights",
            "the program's model, compiled; model.optimizer.build(model.trainable_variables), model.load_weights(path)",
            lambda: _into_program(framework, request, text),
        )


def _root(request: dict[str, Any]) -> str:
    """A root with this step alone: Keras takes the newest of those that are there."""
    step = os.path.basename(request["path"])
    root = os.path.join(request["folder"], "root")
    os.makedirs(root, exist_ok=True)
    place = os.path.join(root, step if step.isdigit() else "0")
    if not os.path.lexists(place):
        os.symlink(request["path"], place, target_is_directory=True)
    return root


def _configuration(step: str) -> str | None:
    path = os.path.join(step, "model_config", "_strings.json")
    if not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8") as file:
        text = json.load(file).get("config")
    return text if isinstance(text, str) else None


def _into_program(framework: Any, request: dict[str, Any], text: str | None) -> list[dict[str, Any]]:
    if request["script"] is not None:
        model = scripts.built(request["script"])
    elif request["model"] is not None:
        model = weights._model(framework, request["model"])  # noqa: SLF001 - the same for every format
    else:
        with models.safe_mode(framework):
            model = framework.keras.models.model_from_json(text)
    if getattr(model, "optimizer", None) is None:
        wanted = request["optimizers"][0]
        named = {**wanted["config"], "name": wanted["label"]} if wanted["label"] else wanted["config"]
        model.compile(optimizer=standins.optimizer(framework, {**wanted, "config": named}), loss="mse")
    if not getattr(model.optimizer, "built", False):
        standins.build(model.optimizer, model.trainable_variables)
    model.load_weights(_root(request))
    return models.taken(model, request)
