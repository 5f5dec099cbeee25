"""`torch.load` that runs nothing of a file: what it gives, what it refuses, and where a state_dict is in it."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from ckptdoctor.verification.child.attempts import Said, Unproven, describe

CALL = 'torch.load(path, map_location="cpu", weights_only=True)'
_REFUSED = re.compile(r"(?:[Uu]nsupported (?:global: )?GLOBAL|Unsupported class) (?P<name>[\w.<>]+)")
_REASON = re.compile(r"(?:WeightsUnpickler error: |\n\s*\n)(?P<why>\S[^\n]*)")
_PROTOCOL = re.compile(r"Unsupported operand (?:149|128)")
_DEEPEST = 12


def torch() -> Any:
    """The module."""
    return import_module("torch")


def load(source: Any, part: str = "") -> Any:
    """What a file holds, by its path or as a file object.

    Raises:
        Said: torch.load refuses it, or fails.
        Unproven: This torch has no way to load a file without running what it says.
    """
    module = torch()
    if "weights_only" not in inspect.signature(module.load).parameters:
        raise Unproven(
            f"torch {module.__version__} cannot load a file without running what its pickle says (weights_only came "
            "with 1.13): ask a newer one with --python"
        )
    where = f"{part}: " if part else ""
    try:
        return module.load(source, map_location="cpu", weights_only=True)
    except Exception as error:
        what = refused(error)
        why = f"refuses {what}" if what else f"fails: {_reason(error)}"
        raise Said(f"{where}torch.load(weights_only=True) {why}") from error


def _reason(error: BaseException) -> str:
    """What an error is about; without torch's advice to load what one trusts in another way."""
    told = _REASON.search(str(error)) if "Weights only load failed" in str(error) else None
    return told.group("why").strip() if told is not None else describe(error)


def refused(error: BaseException) -> str:
    """What `weights_only=True` does not take, by an error's text; "" if that is about something else."""
    text = " ".join(str(error).split())
    name = _REFUSED.search(text)
    if name is not None:
        return name.group("name")
    if _PROTOCOL.search(text):
        return "the pickle's protocol 4"
    return "the tar archive of torch 0.1" if ".tar format" in text else ""


def everything(request: dict[str, Any]) -> Any:
    """What the artifact's files hold, as the reader names it: `optimizer` for `optimizer.pt`, and so on.

    Raises:
        Said: torch.load refuses one of them.
    """
    path = request["path"]
    if request["kind"] == "torch-archive":
        return _members(path)
    if request["parts"]:
        return {label: load(os.path.join(path, name), name) for name, label in request["parts"]}
    return load(path)


def _members(path: str) -> Any:
    """stable-baselines3's archive: each member on its own, as its `load_from_zip_file` does."""
    import io
    import zipfile

    with zipfile.ZipFile(path) as archive:
        names = [each for each in archive.namelist() if each.endswith(".pth") and archive.getinfo(each).file_size]
        return {name: load(io.BytesIO(archive.read(name)), name) for name in names}


def located(tree: Any, label: str) -> Any:
    """The dictionary that the keys of a label lead to; None if there is none."""
    return next((each for where, each in _dictionaries(tree, "", 0) if where == label), None)


def _dictionaries(node: Any, label: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > _DEEPEST:
        return
    if isinstance(node, dict):
        yield label, node
        if "state" in node and "param_groups" in node:
            return
        items = [(key if isinstance(key, str) else repr(key), each) for key, each in node.items()]
    elif isinstance(node, (list, tuple)):
        items = [(str(number), each) for number, each in enumerate(node)]
    else:
        return
    for key, each in items:
        yield from _dictionaries(each, f"{label}/{key}" if label else key, depth + 1)


def weights_for(tree: Any, model: Any) -> Any:
    """The state_dict in the file that a model's names are in; None if the file has no tensors under names.

    Of several, the one that shares most names with the model, or all of them under their keys, where the program's
    model has each as a part; whether they fit, `load_state_dict` says.
    """
    tensor = torch().Tensor
    own = set(model.state_dict())
    best, most = None, -1
    together: dict[str, Any] = {}
    for label, each in _dictionaries(tree, "", 0):
        tensors = {key: value for key, value in each.items() if isinstance(key, str) and isinstance(value, tensor)}
        if len(tensors) * 2 <= len(each):
            continue
        front = label.rpartition("/")[2]
        together.update({f"{front}.{key}": value for key, value in tensors.items()})
        if len(own & set(tensors)) > most:
            best, most = each, len(own & set(tensors))
    whole = own and own <= set(together)
    return {key: together[key] for key in own} if whole and most < len(own) else best
