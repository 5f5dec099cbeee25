"""Layer classes that are declared: which of their own weights no optimizer trains. docs/declare.md has the keys."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import NamedTuple

from ckptdoctor.declarations.chosen import Source, source
from ckptdoctor.declarations.places import Place
from ckptdoctor.declarations.sources import Declaration, at, everything

_KEYS = ("untrained", "weights")
_UNIQUE = re.compile(r"_\d+$")


class DeclaredLayer(NamedTuple):
    """What is declared of a layer's own weights; those of layers in it are theirs.

    Attributes:
        untrained: Patterns of the names of those that are not trained; all others are.
        weights: The names in the order in which they are stored, for formats that only number them; may be empty.
    """

    untrained: tuple[str, ...]
    weights: tuple[str, ...] = ()

    def is_untrained(self, name: str) -> bool:
        """Whether a weight is one that is not trained, by the last part of its name."""
        return any(fnmatchcase(each, pattern) for each in (name, _UNIQUE.sub("", name)) for pattern in self.untrained)

    @property
    def adds_untrained_only(self) -> bool:
        """Whether none of its own weights is trained, whatever they are called."""
        return "*" in self.untrained or (bool(self.weights) and all(map(self.is_untrained, self.weights)))

    def tells(self, count: int, labels: list[str] | None) -> bool:
        """Whether it is known of each of so many weights whether it is trained: by name, or as all are alike."""
        return labels is not None or count == 0 or not self.untrained or self.adds_untrained_only


def layer(class_name: str | None) -> DeclaredLayer | None:
    """What is declared of a class; None if nothing is.

    Raises:
        UsageProblem: Some declaration is not what it should be; each is checked before one is believed.
    """
    return _all(source()).get(class_name) if class_name else None


@lru_cache(maxsize=1)
def _all(chosen: Source) -> Mapping[str, DeclaredLayer]:
    return {class_name: read(class_name, each) for class_name, each in everything(chosen)["layers"].items()}


def read(class_name: str, declaration: Declaration) -> DeclaredLayer:
    """What a declaration says.

    Raises:
        UsageProblem: It says something else than it may; the sentence names file, key and what is allowed.
    """
    place = at(declaration.where, "layers", class_name)
    if len(declaration.tables) > 1:
        place.refuse("is declared more than once")
    (table,) = declaration.tables
    for key in table:
        if key not in _KEYS:
            place.refuse_key(key, _KEYS)
    if "untrained" not in table:
        place.refuse('has no untrained: name the weights that are not trained, ["*"] for all, [] for none')
    return DeclaredLayer(*(_texts(table, key, place) for key in _KEYS))


def _texts(table: Mapping[str, object], key: str, place: Place) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        Place(place.where, f"{place.name}.{key}").refuse_value("a list of texts", value)
    return tuple(value)
