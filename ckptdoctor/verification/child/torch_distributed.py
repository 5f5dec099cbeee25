"""Directories of torch.distributed.checkpoint: `dcp.load` in one process, into the state of stand-ins or of a program.

Everything in such a directory is a pickle, and `dcp.load` runs what they say. So a reader and a planner of its own
look at each pickle first, by the rules of `weights_only=True`.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from ckptdoctor.verification.child.attempts import Attempt, Said, describe
from ckptdoctor.verification.child.snapshot import Store
from ckptdoctor.verification.child.torch_loading import load, torch
from ckptdoctor.verification.child.torch_optimizers import check, over, parameter, parameters_of, take
from ckptdoctor.verification.child.torch_programs import Program, require_class

_CALL = "dcp.load(state, checkpoint_id=path)"
_PLAIN = f"optimizer stepped once, then {_CALL} of its state_dict, and optimizer.load_state_dict"
_NAMED = f"get_state_dict(model, optimizer), {_CALL}, set_state_dict"
_PARTIAL = "planner=DefaultLoadPlanner(allow_partial_load=True)"
_OF_METADATA = "torch.distributed.checkpoint.metadata"
_NAMES = frozenset({
    "collections.OrderedDict", "collections.defaultdict", "pathlib.Path", "pathlib.PosixPath", "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath", "pathlib.WindowsPath", "torch.Size", "torch.device",
    "torch.distributed.checkpoint.filesystem._StorageInfo", "torch.serialization._get_layout",
    "torch.distributed._shard.sharded_tensor.metadata.MEM_FORMAT_ENCODING",
    "torch.distributed._shard.sharded_tensor.metadata.TensorProperties",
})  # fmt: skip
"""What `.metadata` names beside the classes of its own module, in torch 2.0 to 2.15."""


def attempts(framework: Any, request: dict[str, Any]) -> Iterator[Attempt]:  # noqa: ARG001 - as every kind's
    """As the keys say that it was saved; then without what newer versions of torch want and the directory lacks."""
    call = _PLAIN if request["optimizers"][0]["numbered"] else _NAMED
    over_what = "" if request["script"] is not None else ", over stand-ins"
    yield Attempt("torch-distributed", f"{call}{over_what}", lambda: _loaded(request, partial=False))
    yield Attempt(
        "torch-distributed-partial", f"{call}{over_what}, with {_PARTIAL}", lambda: _loaded(request, partial=True)
    )


def _loaded(request: dict[str, Any], *, partial: bool) -> list[dict[str, Any]]:
    paths = _look_at(os.path.join(request["path"], ".metadata"))
    program = None if request["script"] is None else Program(request["script"])
    model = _model(request) if program is None else program.model
    known = dict(model.named_parameters())
    state: dict[str, Any] = {}
    made = []
    for wanted in request["optimizers"]:
        if program is None:
            optimizer = over([known[_escaped(each["path"])] for each in wanted["trained"]], wanted, settings=True)
        else:
            optimizer = program.optimizer(wanted)
        places = _Places(wanted, paths)
        held = places.template(model, optimizer)
        _put(state, places.where, held)
        made.append((wanted, optimizer, places, held))
    if program is not None:
        _put(state, _home(paths, model), model.state_dict())
    _load(state, request["path"], partial=partial)
    store = Store(request)
    taken = []
    for wanted, optimizer, places, held in made:
        places.set(model, optimizer, held)
        names = None if program is None else program.names
        taken.append(take(optimizer, places.keys(), store, names))
        if program is not None:
            require_class(optimizer, wanted)
        check(optimizer)
    return taken


class _Places:
    """Where an optimizer is in a directory, and how its state was taken: with numbers, with names, or flattened."""

    def __init__(self, wanted: dict[str, Any], paths: list[tuple[Any, ...]]) -> None:
        front = tuple(wanted["name"].split("/")) if wanted["name"] else ()
        self._wanted = wanted
        inside = [path[len(front) :] for path in paths if tuple(map(str, path[: len(front)])) == front]
        self._flat = not any(path[:1] == ("state",) for path in inside)
        under = any(str(path[0]).startswith("state.") for path in inside if path)
        self.where = [] if self._flat and not under else list(front)

    def keys(self) -> list[str]:
        """What the directory calls the parameters."""
        trained = self._wanted["trained"]
        return [str(number) if self._wanted["numbered"] else each["path"] for number, each in enumerate(trained)]

    def template(self, model: Any, optimizer: Any) -> Any:
        """The state to load into: `dcp.load` fills what is there, and leaves out what is not."""
        if not self._wanted["numbered"]:
            return _states().get_optimizer_state_dict(model, optimizer, options=self._options())
        zeros = torch().zeros_like
        trained = self._wanted["trained"]
        for each, one in zip(parameters_of(optimizer), trained):  # noqa: B905 - Python 3.7 has no strict
            each.grad = zeros(each) if one["held"] else None
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return optimizer.state_dict()

    def set(self, model: Any, optimizer: Any, state: Any) -> None:
        """Hands the state that was loaded to the optimizer."""
        if self._wanted["numbered"]:
            optimizer.load_state_dict(state)
        else:
            _states().set_optimizer_state_dict(model, optimizer, state, options=self._options())

    def _options(self) -> Any:
        return _states().StateDictOptions(flatten_optimizer_state_dict=self._flat)


def _home(paths: list[tuple[Any, ...]], model: Any) -> list[str]:
    """The keys that lead to the model's state_dict, by the first of its names.

    Raises:
        Said: The directory has no such name.
    """
    name = next(iter(model.state_dict()), "")
    found = next((path for path in paths if path and path[-1] == name and "state" not in path), None)
    if found is None:
        raise Said(f"the directory has no {name!r}, which the program's model has")
    return [str(part) for part in found[:-1]]


def _model(request: dict[str, Any]) -> Any:
    """A module with the parameters that the optimizers train, under their names."""
    module = torch().nn
    root = module.Module()
    for wanted in request["optimizers"]:
        for each in wanted["trained"]:
            made = parameter(each)
            made.requires_grad_(each["held"] and made.is_floating_point())
            *front, last = _escaped(each["path"]).split(".")
            at = root
            for part in front:
                if not hasattr(at, part):
                    at.add_module(part, module.Module())
                at = getattr(at, part)
            at.register_parameter(last, made)
    return root


def _escaped(path: str) -> str:
    """A name that a module takes: those of parameters that nothing names have a space."""
    return path.replace(" ", "_")


def _states() -> Any:
    return import_module("torch.distributed.checkpoint.state_dict")


def _put(state: dict[str, Any], where: list[str], value: dict[str, Any]) -> None:
    """Puts a state_dict under the keys that lead to it; those without any are merged."""
    for part in where[:-1]:
        state = state.setdefault(part, {})
    if where:
        state[where[-1]] = value
    else:
        state.update(value)


def _load(state: dict[str, Any], path: str, *, partial: bool) -> None:
    dcp: Any = import_module("torch.distributed.checkpoint")
    planners: Any = import_module("torch.distributed.checkpoint.default_planner")

    class Planner(planners.DefaultLoadPlanner):  # type: ignore[misc]
        """Loads each object by the rules of weights_only=True before torch loads it without them."""

        def load_bytes(self, read_item: Any, value: Any) -> None:
            load(value, str(read_item.storage_index.fqn))
            value.seek(0)
            super().load_bytes(read_item, value)

    options = {"allow_partial_load": True} if partial else {}
    try:
        dcp.load(state, storage_reader=dcp.FileSystemReader(path), planner=Planner(**options), no_dist=True)
    except dcp.api.CheckpointException as error:  # no Exception; it holds one for each rank
        causes = [each[0] if isinstance(each, tuple) else each for each in error.failures.values()]
        cause = causes[0] if causes else error
        raise Said(str(cause) if isinstance(cause, Said) else f"dcp.load fails: {describe(cause)}") from error


class _Careful(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        known = f"{module}.{name}" in _NAMES and "." not in name
        if known or (module in {"torch", _OF_METADATA} and "." not in name):
            found = super().find_class(module, name)
            if known or isinstance(found, torch().dtype) or getattr(found, "__module__", "") == _OF_METADATA:
                return found
        raise Said(f".metadata names {module}.{name}, which dcp.load would run: it was not loaded")


def _look_at(metadata: str) -> list[tuple[Any, ...]]:
    """The keys that lead to each entry."""
    with open(metadata, "rb") as file:
        found = _Careful(file).load()
    keys = found.planner_data or {}
    return [tuple(keys.get(name, (name,))) for name in found.state_dict_metadata]
