"""Where each weight of a whole model in HDF5 goes in an archive: lists of names on one side, groups on the other.

HDF5 has the weights of a layer, and of all that is below it, in one list: those that are trained first, then the others
(`_legacy_weights`, keras/src/legacy/saving/legacy_h5_format.py). The configuration tells which layers those are, and
what each keeps; the names in the list have to agree.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.keras.configurations import class_of, is_frozen, layer_configs, name_of, settings_of, wrapped_in
from ckptdoctor.formats.keras.layers import CHILD_ORDER, OTHER_NAMES, WEIGHT_NAMES, snake_case, untrained
from ckptdoctor.formats.keras.model import TOP_LEVEL, LayerWeights
from ckptdoctor.optimizers.keras.naming import plain
from ckptdoctor.references import TensorRef

_MODELS = frozenset({"Sequential", "Functional", "Model"})
_CELLS = {each: f"{each}Cell" for each in ("LSTM", "GRU", "SimpleRNN", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D")}
_AROUND = {"Bidirectional": CHILD_ORDER["Bidirectional"], "TimeDistributed": ("layer",), "RNN": ("cell",)}
_SWITCHES = {"bias": "use_bias", "gamma": "scale", "beta": "center"}
_MOST_DEEP = 32


class Placed(NamedTuple):
    """A layer that keeps weights itself.

    Attributes:
        group: Its group in the archive, without `vars`.
        name: Its name; "" of one that only an attribute names.
        weights: What it keeps, in order.
    """

    group: str
    name: str
    weights: tuple[TensorRef, ...]


class _Keeper(NamedTuple):
    """The same as the configuration tells it: names, and whether each is trained."""

    group: str
    name: str
    names: tuple[str, ...]
    trained: tuple[bool, ...]
    within: str


def placed(config: object, layers: Sequence[LayerWeights], *, of_keras3: bool) -> list[Placed]:
    """Every layer of a model that keeps weights, and where.

    Args:
        config: The model's configuration.
        layers: Its layers with their weights, as they are listed.
        of_keras3: Keras 3 wrote it, or the Keras before it.

    Raises:
        GraftRefused: It has layers of which only their code knows what they keep and where.
    """
    about = config if isinstance(config, Mapping) else {}
    if class_of(about) not in _MODELS or not layer_configs(about):
        raise GraftRefused("it is no Sequential or functional model, whose code alone knows its layers")
    lists = {each.name: each.weights for each in layers if each.weights}
    found: list[Placed] = []
    for group, layer in _grouped(about):
        if of_keras3:
            _require_no_operation(layer)
        weights = lists.pop(name_of(layer), ())
        if weights:
            start = _At(group, name_of(layer), of_keras3, is_frozen(about))
            found += _shared_out(layer, list(_keepers(layer, start)), weights)
    lists.pop(TOP_LEVEL, None)
    if lists:
        raise GraftRefused(f"{', '.join(sorted(lists))} is in no list of its configuration")
    return found


def _grouped(model: Mapping[str, object]) -> Iterator[tuple[str, Mapping[str, object]]]:
    """The group of each layer of a model: its class, counted in the order of the list."""
    used: Counter[str] = Counter()
    for each in layer_configs(model):
        name = class_of(each)
        kind = snake_case("Functional" if name == "Model" else name)
        yield f"layers/{kind}_{used[kind]}" if used[kind] else f"layers/{kind}", each
        used[kind] += 1


class _At(NamedTuple):
    """Where a walk is.

    Attributes:
        group: The group in the archive.
        within: The layer of a model's list that it is at or below.
        of_keras3: Keras 3 wrote it.
        frozen: Something above is frozen.
        depth: Objects above.
    """

    group: str
    within: str
    of_keras3: bool
    frozen: bool
    depth: int = 0

    def below(self, name: str, within: str = "") -> "_At":
        """The same at an object below."""
        return _At(f"{self.group}/{name}", within or self.within, self.of_keras3, self.frozen, self.depth + 1)


def _keepers(layer: Mapping[str, object], at: _At) -> Iterator[_Keeper]:
    """What keeps weights at or below a layer, in the order in which Keras lists them."""
    kind, settings = class_of(layer), settings_of(layer)
    at = at._replace(frozen=at.frozen or is_frozen(layer))
    around = wrapped_in(layer)
    if at.depth > _MOST_DEEP:
        raise _unknown(at.within, kind)
    if kind in _MODELS:
        for group, inner in _grouped(layer):
            yield from _keepers(inner, at.below(group, name_of(inner)))
    elif kind in _CELLS:
        yield _keeper(_CELLS[kind], settings, at.below("cell"))
    elif around is not None and kind in _AROUND:
        for side in _AROUND[kind]:
            backward = settings.get("backward_layer") if side == "backward_layer" else None
            yield from _keepers(backward if isinstance(backward, Mapping) else around, at.below(side))
    elif kind in CHILD_ORDER:
        private = "" if at.of_keras3 and kind == "MultiHeadAttention" else "_"
        for side in CHILD_ORDER[kind]:
            yield _keeper("EinsumDense", settings, at.below(f"{private}{side}"))
    elif around is None:
        yield _keeper(kind, settings, at, name_of(layer))


def _keeper(kind: str, settings: Mapping[str, object], at: _At, name: str = "") -> _Keeper:
    """One layer by what its arguments say that it keeps."""
    names = WEIGHT_NAMES.get(kind, ())
    names = tuple(each for each in names if settings.get(_SWITCHES.get(each, ""), True) is not False)
    trained = tuple(not at.frozen and not each for each in untrained(kind, names))
    return _Keeper(at.group, name, names, trained, at.within)


def _require_no_operation(layer: Mapping[str, object], depth: int = 0) -> None:
    """Refuses `x + y`, of which Keras 3's HDF5 has the class alone: its own loader takes it for the layer Add."""
    settings = settings_of(layer)
    if "dtype" not in settings and "layers" not in settings and ">" not in str(layer.get("class_name")):
        raise GraftRefused(
            f"{layer.get('name') or class_of(layer)} is an operation, no layer, and Keras 3's .h5 does not say which: "
            "no Keras loads it; build the model in its program and save it as .keras"
        )
    for each in layer_configs(layer) if depth < _MOST_DEEP else ():
        _require_no_operation(each, depth + 1)


def _shared_out(
    layer: Mapping[str, object], keepers: Sequence[_Keeper], weights: Sequence[tuple[str, TensorRef]]
) -> list[Placed]:
    """The weights of a list, given to what keeps them.

    Raises:
        GraftRefused: The list is not what the configuration predicts.
    """
    places = [(keeper, number) for keeper in keepers for number in range(len(keeper.names))]
    places.sort(key=lambda place: not place[0].trained[place[1]])
    if len(places) != len(weights):
        raise _unknown(name_of(layer), class_of(layer))
    held: dict[tuple[str, int], TensorRef] = {}
    for (keeper, number), (weight, ref) in zip(places, weights, strict=True):
        *above, last = plain(weight).split("/")
        name = keeper.names[number]
        if last not in {name, *OTHER_NAMES.get(name, ())} or (above and not _is_within(keeper.within, plain(weight))):
            raise _unknown(name_of(layer), class_of(layer))
        held[keeper.group, number] = ref
    return [
        Placed(each.group, each.name, tuple(held[each.group, number] for number in range(len(each.names))))
        for each in keepers
        if each.names
    ]


def _is_within(name: str, weight: str) -> bool:
    """Whether a layer's name, which may have slashes, is a part of a weight's."""
    return f"/{name}/" in f"/{weight}"


def _unknown(name: str, kind: str) -> GraftRefused:
    return GraftRefused(
        f"{name} is a {kind}, whose weights lie below it in an archive, where only its code knows: load the model with "
        "Keras and save it as .keras, then graft the optimizer into that"
    )
