"""Optimizer classes that are declared rather than in the catalogue, as records of the same kind.

docs/declare.md has the keys. Ours are in `declarations/addons.toml`: nothing here knows whose a declaration is. It is
believed of the classes that it names, in the generations that it names; a class of the catalogue it may not redefine.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple, TypeVar

from ckptdoctor.declarations.chosen import Source, source
from ckptdoctor.declarations.places import Place
from ckptdoctor.declarations.sources import Declaration, at, everything
from ckptdoctor.optimizers.catalogue import (
    COPY,
    LAYOUTS,
    Below2D,
    Block,
    Extent,
    Hyper,
    Layout,
    PerVariable,
    Single,
    SlotKind,
)
from ckptdoctor.state import NOTHING, Generation, Role

_GENERATIONS = tuple(each for each in Generation if each is not Generation.TF1)
_KEYS = ("generations", "slots", "defaults", "name", "registered", "variables", "wraps")
_SLOT_KEYS = ("name", "role", "attribute", "when", "shape", "start", "below-2d")
_SHAPES = (Extent.VARIABLE, Extent.SCALAR, Extent.ROWS, Extent.COLUMNS)
_MOST_CONDITIONS = 6
"""A list without a configuration is tried with every combination of them."""


class Declared(NamedTuple):
    """A declared class in one generation.

    Attributes:
        layout: Its state.
        defaults: Its arguments and their defaults; empty if they are not declared.
        name: What an instance is called that nobody named.
        registered: What a configuration calls the class: with the package that it is registered in, if it is.
        wraps: The setting that holds the optimizer that it is around; "" if it is around none.
    """

    layout: Layout
    defaults: Mapping[str, object] = NOTHING
    name: str = ""
    registered: str = ""
    wraps: str = ""


def of(class_name: str) -> tuple[Declared, ...]:
    """What is declared of a class, an entry a generation; empty if nothing is.

    Raises:
        UsageProblem: Some declaration is not what it should be; each is checked before one is believed.
    """
    return _all(source()).get(class_name, ())


@lru_cache(maxsize=1)
def _all(chosen: Source) -> Mapping[str, tuple[Declared, ...]]:
    return {class_name: read(class_name, each) for class_name, each in everything(chosen)["optimizers"].items()}


def every() -> tuple[Declared, ...]:
    """Every declared class."""
    return tuple(one for several in _all(source()).values() for one in several)


def class_called(name: str) -> str | None:
    """The declared class whose instances are called so unless somebody names them."""
    return _names(source()).get(name)


@lru_cache(maxsize=1)
def _names(_source: Source) -> Mapping[str, str]:
    from ckptdoctor.optimizers.inference import snake_case

    found: dict[str, str] = {}
    for one in every():
        class_name = one.layout.class_name
        found |= dict.fromkeys((class_name, one.name), class_name)
        if one.layout.generation is Generation.KERAS3 and one.name == class_name:
            found[snake_case(class_name)] = class_name
    return found


def around(wrapper: str | None, layouts: Iterable[Layout]) -> tuple[Layout, ...]:
    """Layouts of a class as they are inside an optimizer: its own state first, then the inner one's.

    Source: `weights` of tensorflow_addons' Lookahead and AveragedOptimizerWrapper. There is one count for all.

    Args:
        wrapper: The wrapper's class, or `Outer of Inner`; None for none.
        layouts: Those of the class that it is around.

    Returns:
        Nothing, if of a wrapper it is not known what it keeps.
    """
    found = tuple(layouts)
    for name in reversed(wrapper.split(" of ")) if wrapper else ():
        own = {each.layout.generation: each.layout.blocks for each in of(name) if each.wraps}
        found = tuple(
            each._replace(blocks=(*own[each.generation], *each.blocks)) for each in found if each.generation in own
        )
    return found


# ------------------------------------------------------------------------------------------------ reading one of them


def read(class_name: str, declaration: Declaration) -> tuple[Declared, ...]:
    """What a declaration says.

    Raises:
        UsageProblem: It says something else than it may; the sentence names file, key and what is allowed.
    """
    place = at(declaration.where, "optimizers", class_name)
    found = [each for table in declaration.tables for each in _class(class_name, table, place)]
    generations = [each.layout.generation for each in found]
    for each in found:
        if generations.count(each.layout.generation) > 1:
            place.refuse(f"is declared twice for {each.layout.generation.value}")
    return tuple(found)


def _class(class_name: str, table: Mapping[str, object], place: Place) -> list[Declared]:
    _require_keys(table, _KEYS, place)
    if not class_name.isidentifier():
        place.refuse("should be named as the class is, without the package that it is registered in")
    generations = [
        _choice(each, _GENERATIONS, _below(place, "generations"))
        for each in _list(table.get("generations", ()), _below(place, "generations"))
    ]
    if not generations:
        _below(place, "generations").refuse(f"should name some of {', '.join(each.value for each in _GENERATIONS)}")
    for each in generations:
        if any((known.class_name, known.generation) == (class_name, each) for known in LAYOUTS):
            place.refuse(f"is {class_name} of {each.value}, which the catalogue has: no declaration may redefine it")
    wraps = _text(table, "wraps", "", place)
    if wraps and any(each is not Generation.OPTIMIZER_V2 for each in generations):
        _below(place, "wraps").refuse(f"is for {Generation.OPTIMIZER_V2.value} alone")
    defaults = table.get("defaults", {})
    if not isinstance(defaults, Mapping):
        _below(place, "defaults").refuse_value("a table of arguments", defaults)
    blocks = _blocks(table.get("slots", ()), _below(place, "slots"))
    layout = Layout(class_name, generations[0], blocks, hypers=_hypers(table, _below(place, "variables")))
    name = _text(table, "name", class_name, place)
    registered = _text(table, "registered", class_name, place)
    return [Declared(layout._replace(generation=each), dict(defaults), name, registered, wraps) for each in generations]


def _blocks(value: object, place: Place) -> tuple[Block, ...]:
    """Each slot is a table; a list of slots among them alternates, variable by variable."""
    blocks = [_block(each, _nth(place, at)) for at, each in enumerate(_list(value, place))]
    names: list[str] = []
    roles: list[Role] = []
    conditions: set[str] = set()
    for block in blocks:
        kinds = block.kinds if isinstance(block, PerVariable) else ()
        names += [kind.name for kind in kinds] if isinstance(block, PerVariable) else [block.name]
        roles += [kind.role for kind in kinds if kind.role is not Role.OTHER]
        conditions |= {kind.when.lstrip("!") for kind in kinds} - {""}
    for what, said in (("name", names), ("role", [each.value for each in roles])):
        twice = next((each for each in said if said.count(each) > 1), None)
        if twice is not None:
            place.refuse(f"has the {what} {twice!r} twice: what is stored could not be told apart")
    if len(conditions) > _MOST_CONDITIONS:
        place.refuse(f"depends on {len(conditions)} settings, more than the {_MOST_CONDITIONS} that can be tried")
    return tuple(blocks)


def _block(value: object, place: Place) -> Block:
    if isinstance(value, Mapping) and "single" in value:
        _require_keys(value, ("single", "attribute"), place)
        return Single(_text(value, "single", "", place, required=True), _text(value, "attribute", "", place))
    inside = value if isinstance(value, list) else [value]
    kinds = tuple(_kind(each, _nth(place, at) if isinstance(value, list) else place) for at, each in enumerate(inside))
    return PerVariable(kinds)


def _kind(value: object, place: Place) -> SlotKind:
    if not isinstance(value, Mapping):
        place.refuse_value(f"a table with {', '.join(_SLOT_KEYS)}", value)
    _require_keys(value, _SLOT_KEYS, place)
    start = value.get("start", 0.0)
    if isinstance(start, bool) or not isinstance(start, (int, float, str)):
        _below(place, "start").refuse_value(f"a number, the name of a setting, or {COPY!r}", start)
    return SlotKind(
        _text(value, "name", "", place, required=True),
        _choice(value.get("role", Role.OTHER.value), tuple(Role), _below(place, "role")),
        _text(value, "attribute", "", place),
        _text(value, "when", "", place),
        _choice(value.get("shape", Extent.VARIABLE.value), _SHAPES, _below(place, "shape")),
        _choice(value.get("below-2d", Below2D.ABSENT.value), tuple(Below2D), _below(place, "below-2d")),
        start=start if isinstance(start, str) else float(start),
    )


def _hypers(table: Mapping[str, object], place: Place) -> tuple[Hyper, ...]:
    """Variables that hold settings: a name, or a table where the setting has another one or its type stays."""
    if "variables" not in table:
        return Layout._field_defaults["hypers"]  # type: ignore[no-any-return]
    found: list[Hyper] = []
    for at_, each in enumerate(_list(table["variables"], place)):
        if isinstance(each, str) and each:
            found.append(Hyper(each, each))
        elif isinstance(each, Mapping):
            here = _nth(place, at_)
            _require_keys(each, ("name", "setting", "as-given"), here)
            name = _text(each, "name", "", here, required=True)
            as_given = each.get("as-given", False)
            if not isinstance(as_given, bool):
                _below(here, "as-given").refuse_value("true or false", as_given)
            found.append(Hyper(name, _text(each, "setting", name, here), as_given))
        else:
            _nth(place, at_).refuse_value("a text, or a table with name, setting and as-given", each)
    return tuple(sorted(found))


# ------------------------------------------------------------------------------------------------------------- values

_Member = TypeVar("_Member", bound=Enum)


def _below(place: Place, key: str) -> Place:
    return Place(place.where, f"{place.name}.{key}")


def _nth(place: Place, number: int) -> Place:
    return Place(place.where, f"{place.name}[{number}]")


def _require_keys(table: Mapping[str, object], known: Iterable[str], place: Place) -> None:
    for key in table:
        if key not in known:
            place.refuse_key(key, known)


def _list(value: object, place: Place) -> Sequence[object]:
    if not isinstance(value, (list, tuple)):
        place.refuse_value("a list", value)
    return value


def _text(table: Mapping[str, object], key: str, default: str, place: Place, *, required: bool = False) -> str:
    value = table.get(key, default)
    if not isinstance(value, str) or (not value and (required or key in table)):
        _below(place, key).refuse_value("a text", value)
    return value


def _choice(value: object, known: Sequence[_Member], place: Place) -> _Member:
    found = next((each for each in known if each.value == value), None)
    if found is None:
        place.refuse_value(f"one of {', '.join(str(each.value) for each in known)}", value)
    return found
