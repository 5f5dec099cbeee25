"""Files of torch.save, whatever lies in them: a state_dict, a dictionary of anything, a whole model or optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ckptdoctor.containers.pickles.reading import Node
from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.containers.torchfiles.reading import Loaded, load
from ckptdoctor.formats.torch.contents import Contents, Model, contents
from ckptdoctor.formats.torch.optimizer import Draft, answer, draft, optimizer_state
from ckptdoctor.formats.torch.parameters import Answer, parameters
from ckptdoctor.formats.torch.schedulers import companions, schedulers
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Format, ModelVariable, Oddity, OptimizerState, Producer, TrainingState

_OF_EVERY = frozenset({"opt", "optim", "optimizer", "optimizers", "state", "states", "dict"})
_LIGHTNING = "pytorch-lightning_version"


def read(path: str) -> TrainingState:
    """Reads a file of torch.save.

    Raises:
        UnreadableArtifact: It is none, truncated, or claims what is not there.
    """
    loaded = load(path)
    found = contents(loaded.root)
    with kept_open():
        return _state(path, loaded, found)


def _state(path: str, loaded: Loaded, found: Contents) -> TrainingState:
    models = [each for each in found.models if not each.averaged] or found.models
    averages = [each for each in found.models if each not in models]
    variables: tuple[ModelVariable, ...] = _variables(models)
    oddities = list(loaded.oddities)
    optimizers: list[OptimizerState] = []
    for name, fields in found.optimizers.items():
        one = draft(name, fields)
        told = _answer(one, models, len(found.optimizers))
        if not models:  # an optimizer alone: its parameters are somewhere else
            told = Answer((one.named and tuple(one.named)) or tuple(one.numbered), "order", proven=True)
            variables += tuple(
                ModelVariable(path, TensorRef("", "", place.shape or (), None), trainable=True)
                for path, place in zip(told.names, one.shapes, strict=True)
                if path is not None
            )
        optimizers.append(optimizer_state(one, told))
        oddities += one.oddities
        if not told.proven and told.mapping != "name" and None not in told.names and told.names:
            oddities.append(
                Oddity("S010", f"{name or 'the optimizer'}: equal shapes leave open which parameter is which")
            )
    for each in averages:
        oddities.append(Oddity("S012", f"{each.label} holds averages of {len(each.tensors):,} weights"))
    version = _lightning(loaded.root)
    return TrainingState(
        path=path,
        format=Format.TORCH_CHECKPOINT if version is None else Format.LIGHTNING_CHECKPOINT,
        producer=Producer("torch") if version is None else Producer("lightning", version),
        variables=variables,
        optimizers=tuple(optimizers),
        schedulers=schedulers(found, optimizers),
        companions=companions(found),
        counters=found.counters,
        others=(*found.others, *(ref for each in averages for ref in each.tensors.values())),
        oddities=tuple(oddities),
    )


def _lightning(root: Node) -> str | None:
    version = root.get(_LIGHTNING) if isinstance(root, dict) else None
    return version if isinstance(version, str) else None


def _variables(models: Sequence[Model]) -> tuple[ModelVariable, ...]:
    """The models' tensors; with several, under the keys that lead to each."""
    return tuple(
        ModelVariable(_path(each, name, models), ref, None if "float" in ref.dtype else False)
        for each in models
        for name, ref in each.tensors.items()
    )


def _path(model: Model, name: str, models: Sequence[Model]) -> str:
    return name if len(models) == 1 or not model.label else f"{model.label}/{name}"


def _known(model: Model, models: Sequence[Model]) -> dict[str, TensorRef]:
    return {_path(model, name, models): ref for name, ref in parameters(model.tensors).items()}


def _answer(found: Draft, models: Sequence[Model], optimizers: int) -> Answer:
    """Whose each place is: in the one model, in the one that its name resembles, or in all of them together."""
    if len(models) <= 1:
        return answer(found, _known(models[0], models) if models else {})
    every = [_known(each, models) for each in models]
    together: Mapping[str, TensorRef] = {name: ref for each in every for name, ref in each.items()}
    tried = sorted(zip(models, every, strict=True), key=lambda pair: -_alike(pair[0].label, found.name))
    if optimizers == 1:
        whole = answer(found, together)
        if None not in whole.names:
            return whole
    best = Answer((None,) * len(found.places), "order", proven=False)
    for _, known in tried:
        one = answer(found, known)
        if None not in one.names and len(known) >= len(one.names):
            return one
        if sum(each is not None for each in one.names) > sum(each is not None for each in best.names):
            best = one
    whole = answer(found, together)
    return whole if None not in whole.names else best


def _alike(label: str, optimizer: str) -> int:
    """How many letters of a model's name an optimizer's ends or begins with: `opt_d` of `discriminator` and `d`."""
    model, own = label.rpartition("/")[2].lower(), optimizer.rpartition("/")[2].lower()
    parts = [
        part for part in own.replace("-", "_").split("_") if part not in {"opt", "optim", "optimizer", "state", "dict"}
    ]
    return max((len(part) for part in parts if model.startswith(part) or part in model), default=0)
