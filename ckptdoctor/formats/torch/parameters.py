"""Which parameter each place of an optimizer's groups stands for.

A state_dict numbers its parameters; place k of the concatenated groups is the k-th parameter that the program passed.
Where neither the state nor `param_names` names them, the weights of the same artifact tell by their order and shapes:
each answer says which of the two it rests on.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.formats.torch.registration import orders
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Mapped

Shape = tuple[int, ...]
_DIGITS = 9

_BUFFERS = frozenset({
    "running_mean", "running_var", "num_batches_tracked", "n_averaged", "position_ids", "token_type_ids", "inv_freq",
    "masked_bias", "relative_position_index", "_extra_state",
})  # fmt: skip
"""Tensors of a state_dict that no optimizer is given, by the last part of their names."""
_MASK = ".attn.bias"
"""GPT-2's causal mask, of four dimensions."""
_NORM = r"(?i)bias|layernorm|rmsnorm|layer_norm|(?:^|\.)norm(?:$|\.|\d)|_norm(?:$|\.)|(?:^|\.)ln_"
"""What trainers leave without decay (transformers.trainer_pt_utils.get_parameter_names), layers of GPT-2 included."""
_TIED = (
    ".lm_head.weight", ".cls.predictions.decoder.weight", ".embed_out.weight", ".encoder.embed_tokens.weight",
    ".decoder.embed_tokens.weight",
)  # fmt: skip
"""Weights that language models share with their embeddings."""


class Place(NamedTuple):
    """A place in the groups.

    Attributes:
        group: Number of its group.
        shapes: The shapes that its state allows; none if it has no state, or says nothing of one.
    """

    group: int
    shapes: frozenset[Shape] = frozenset()

    def allows(self, shape: Shape) -> bool:
        """Whether a parameter of this shape may stand here."""
        return not self.shapes or shape in self.shapes


class Answer(NamedTuple):
    """Each place's parameter.

    Attributes:
        names: Its name; None where nothing tells.
        mapping: What that rests on.
        proven: No other order fits the shapes.
    """

    names: tuple[str | None, ...]
    mapping: Mapped
    proven: bool = True


def parameters(tensors: Mapping[str, TensorRef]) -> dict[str, TensorRef]:
    """What an optimizer may be given of a state_dict: floats that are no buffers, tied ones once."""
    found: dict[str, TensorRef] = {}
    seen: set[object] = set()
    for name, ref in tensors.items():
        is_mask = len(ref.shape) > 2 and f".{name}".endswith(_MASK)  # noqa: PLR2004
        if "float" not in ref.dtype or name.rpartition(".")[2] in _BUFFERS or is_mask:
            continue
        if ref.location is not None and ref.size and ref.location in seen:
            continue
        seen.add(ref.location)
        found[name] = ref
    return found


def assign(places: Sequence[Place], known: Mapping[str, TensorRef], *, sorted_names: bool = False) -> Answer:
    """Gives each place its parameter.

    Args:
        places: The places, group by group.
        known: The parameters, in the model's order.
        sorted_names: They are in that of their names, as safetensors has them.
    """
    untied = {name: ref for name, ref in known.items() if not f".{name}".endswith(_TIED)}
    if len(untied) == len(places) < len(known):  # in other shards they are other bytes
        known = untied
    names = list(known)
    shapes = [known[name].shape for name in names]
    if not places or not names:
        return Answer((None,) * len(places), "order", proven=False)
    registered = _registered(places, names, known) if sorted_names else None
    for order in (registered,) if registered else _orders(places, names, known):
        if len(order) == len(places) and _fits(places, order, shapes):
            return Answer(tuple(names[at] for at in order), *_evidence(places, order, shapes))
    return _chosen(places, names, shapes) or _by_shape(places, names, shapes)


def _fits(places: Sequence[Place], order: Sequence[int], shapes: Sequence[Shape]) -> bool:
    return all(place.allows(shapes[at]) for place, at in zip(places, order, strict=True))


def _evidence(places: Sequence[Place], order: Sequence[int], shapes: Sequence[Shape]) -> tuple[Mapped, bool]:
    """By the model's order; by shapes where that is another one. Proven if all shapes differ."""
    alike = Counter(shapes)
    proven = all(alike[shapes[at]] == 1 for place, at in zip(places, order, strict=True) if place.shapes)
    return ("order" if list(order) == sorted(order) or not proven else "shape"), proven


_SPLITS: tuple[Callable[[str, Shape], bool], ...] = (
    lambda name, _: re.search(_NORM, name) is None,
    lambda name, _: "bias" not in name and not name.rpartition(".")[0].lower().endswith("layernorm"),
    lambda name, shape: len(shape) > 1 and "bias" not in name,
    lambda _, shape: len(shape) > 1,
    lambda name, _: "bias" not in name,
)
"""Which parameters are decayed, as trainers of all versions have it: the sizes of the groups tell which rule it was."""


def _registered(places: Sequence[Place], names: Sequence[str], known: Mapping[str, TensorRef]) -> list[int] | None:
    """The order of registration, where the names are sorted; groups are the decayed and the others."""
    groups = [[place for place in places if place.group == number] for number in range(places[-1].group + 1)]

    def fits(group: int, at: int, shape: Shape) -> bool:
        return at < len(groups[group]) and groups[group][at].allows(shape)

    sizes = [len(group) for group in groups]
    while sizes and sizes[-1] == 0:
        sizes.pop()
    splits: list[Callable[[str], int]] = [lambda _: 0] if len(sizes) == 1 else []
    if len(sizes) == 2:  # noqa: PLR2004
        for decays in _SPLITS:
            splits.append(lambda name, decays=decays: int(not decays(name, known[name].shape)))  # type: ignore[misc]
            splits.append(lambda name, decays=decays: int(decays(name, known[name].shape)))  # type: ignore[misc]
    at = {name: number for number, name in enumerate(names)}
    for group_of in splits:
        found = orders(known, sizes, fits, group_of)
        if found is not None:
            return [at[name] for name in found]
    return None


def _orders(places: Sequence[Place], names: Sequence[str], known: Mapping[str, TensorRef]) -> Iterator[list[int]]:
    """Orders in which programs hand parameters over, the likeliest first."""
    everything = list(range(len(names)))
    sizes = Counter(place.group for place in places)
    first = sizes[0]
    yield everything
    natural = sorted(everything, key=lambda at: _natural(names[at]))
    for base in (everything, natural):
        if len(sizes) > 1:
            for decays in _SPLITS:
                one = [at for at in base if decays(names[at], known[names[at]].shape)]
                two = [at for at in base if not decays(names[at], known[names[at]].shape)]
                if len(one) == first:
                    yield one + two
                if len(two) == first:
                    yield two + one
            # A group of the model's last layers before the others, with a rate of its own.
            yield base[-first:] + base[:-first]
    yield natural
    yield everything[::-1]


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """`h.2` before `h.10`."""
    parts = name.split(".")
    return [(part.isdecimal(), int(part[:_DIGITS]) if part.isdecimal() else 0, part) for part in parts]


def _leftmost(places: Sequence[Place], shapes: Sequence[Shape]) -> list[int] | None:
    """Each place as early in the model's order as the places before it and the shapes allow."""
    found: list[int] = []
    at = 0
    for place in places:
        while at < len(shapes) and not place.allows(shapes[at]):
            at += 1
        if at == len(shapes):
            return None
        found.append(at)
        at += 1
    return found


def _chosen(places: Sequence[Place], names: Sequence[str], shapes: Sequence[Shape]) -> Answer | None:
    """Fewer places than parameters, in the model's order, as some were frozen: those that no other choice allows."""
    if len(places) >= len(names) or len({place.group for place in places}) > 1:
        return None
    early, late = _leftmost(places, shapes), _leftmost(places[::-1], shapes[::-1])
    if early is None or late is None:
        return None
    latest = [len(names) - 1 - at for at in reversed(late)]
    pairs = list(zip(early, latest, strict=True))
    told = tuple(names[one] if one == other else None for one, other in pairs)
    alike = Counter(shapes)
    proven = None not in told and all(alike[shapes[one]] == 1 for one, _ in pairs)
    return Answer(told, "shape" if proven or None in told else "order", proven)


def _by_shape(places: Sequence[Place], names: Sequence[str], shapes: Sequence[Shape]) -> Answer:
    """No order fits: of a shape that as many places as parameters have, one after the other."""
    open_to: dict[Shape, list[int]] = {}
    for at, shape in enumerate(shapes):
        open_to.setdefault(shape, []).append(at)
    own = [next((shape for shape in place.shapes if shape in open_to), None) for place in places]
    wanted = Counter(shape for shape in own if shape is not None)
    told = {shape: iter(found) for shape, found in open_to.items() if wanted[shape] == len(found)}
    found = tuple(names[next(told[shape])] if shape in told else None for shape in own)
    return Answer(found, "shape", proven=None not in found and set(wanted.values()) == {1})


def is_open(answer: Answer, known: Mapping[str, Shape]) -> bool:
    """Whether a parameter that was named could as well be another one that was: equal shapes, and nothing but order."""
    if answer.proven or answer.mapping == "name":
        return False
    named = [name for name in answer.names if name is not None]
    alike = Counter(known.get(name) for name in named)
    return bool(named) and (len(named) == len(answer.names) or max(alike.values()) > 1)


def strangers(places: Sequence[Place], shapes: Iterable[Shape]) -> int:
    """How many places have state that no weight of these shapes could have."""
    known = set(shapes)
    return sum(bool(place.shapes) and not place.shapes & known for place in places)
