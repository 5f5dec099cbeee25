"""Which model each optimizer of an artifact trains, and so whose each of its places is."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.formats.torch.contents import Model
from ckptdoctor.formats.torch.optimizer import Draft
from ckptdoctor.formats.torch.parameters import Answer, assign, parameters
from ckptdoctor.references import TensorRef

_OF_EVERY = frozenset({"opt", "optim", "optimizer", "optimizers", "state", "states", "dict", "bin", "pt"})


class Scope(NamedTuple):
    """Parameters that an optimizer may train: a model, a part of one, or all models together."""

    label: str
    known: Mapping[str, TensorRef]
    sorted_names: bool = False


def path_of(model: Model, name: str, models: Sequence[Model]) -> str:
    """A tensor's name in the artifact: with several models, under the keys that lead to its own."""
    return name if len(models) == 1 or not model.label else f"{model.label}/{name}"


def pair(drafts: Sequence[Draft], models: Sequence[Model]) -> list[Answer]:
    """Whose each place of each optimizer is."""
    if not models:
        return [Answer(tuple(each.named or each.numbered), "name" if each.named else "order") for each in drafts]
    every = [
        Scope(
            each.label,
            {path_of(each, name, models): ref for name, ref in parameters(each.tensors).items()},
            each.sorted_names,
        )
        for each in models
    ]
    together = {name: ref for each in every for name, ref in each.known.items()}
    whole = Scope("", together, any(each.sorted_names for each in every))
    parts = [part for each in every for part in _parts(each)]
    if len(every) == 1:
        every = parts
    taken: set[str] = set()
    found = []
    for each in drafts:
        answer = _named(each) or _of_scopes(each, every, whole, taken, alone=len(drafts) == 1)
        if None in answer.names and every != parts:
            within = _of_scopes(each, parts, whole, taken, alone=False)
            answer = within if None not in within.names else answer
        taken.update(name for name in answer.names if name is not None)
        found.append(answer)
    return found


def _named(found: Draft) -> Answer | None:
    names = found.named
    return Answer(tuple(names), "name") if names is not None and len(names) == len(found.places) else None


def _parts(whole: Scope) -> list[Scope]:
    """A model's children, as the two networks of a GAN are; by the first part of their names that differs."""
    for depth in range(1, 4):
        parts: dict[str, dict[str, TensorRef]] = {}
        for name, ref in whole.known.items():
            parts.setdefault(".".join(name.split(".")[:depth]), {})[name] = ref
        if len(parts) > 1:
            return [Scope(label, known, whole.sorted_names) for label, known in parts.items()]
    return [whole]


def _of_scopes(found: Draft, every: Sequence[Scope], whole: Scope, taken: set[str], *, alone: bool) -> Answer:
    """The scope that the optimizer fits: the one that its name resembles, then any that it fits exactly."""
    size = len(found.places)
    likely = sorted(every, key=lambda each: (-_alike(each.label, found.name), len(each.known) != size))
    scopes = [whole, *likely] if alone else [*likely, whole]
    best = Answer((None,) * size, "order", proven=False)
    for exact in (True, False):
        for scope in scopes:
            left = {name: ref for name, ref in scope.known.items() if name not in taken}
            if exact and len(left) != size:
                continue
            answer = assign(found.shapes, left, sorted_names=scope.sorted_names)
            if None not in answer.names:
                return answer
            if _told(answer) > _told(best):
                best = answer
    return best


def _told(answer: Answer) -> int:
    return sum(each is not None for each in answer.names)


def _alike(label: str, optimizer: str) -> int:
    """How many letters of an optimizer's name a model's has: `opt_d` and `discriminator`."""
    model, own = label.rpartition("/")[2].lower(), optimizer.rpartition("/")[2].lower()
    parts = set(own.replace("-", "_").replace(".", "_").split("_")) - _OF_EVERY
    return max((len(part) for part in parts if not part.isdecimal() and part in model), default=0)
