"""Where declarations come from: the user's policy file, installed packages, and a file of our own, in this order.

They are looked for when a class is met that the catalogue does not know, and not before: most runs need none. A
package's entry point names a file of its own, which is read as text: nothing of the package is imported.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ckptdoctor.declarations import files
from ckptdoctor.declarations.chosen import Source
from ckptdoctor.declarations.places import Place
from ckptdoctor.errors import UsageProblem

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "ckptdoctor.optimizers"
"""The group of entry points."""
KEY = "declare"
"""The table of a policy file."""
KINDS = ("optimizers", "layers")
"""What can be declared."""
OURS = os.path.join(os.path.dirname(__file__), "addons.toml")


class Declaration(NamedTuple):
    """What is said of a class: one table, or several for several generations; and the file that says it."""

    tables: tuple[Mapping[str, object], ...]
    where: str


@lru_cache(maxsize=1)
def everything(chosen: Source) -> Mapping[str, Mapping[str, Declaration]]:
    """Kind (of `KINDS`) → class → what is said of it: the user's word before a package's before ours.

    Args:
        chosen: Which policy file counts.

    Raises:
        UsageProblem: A file of declarations is not what it should be; the sentence begins with the file.
    """
    path = chosen.path or (files.nearest(chosen.start) if chosen.start is not None else None)
    users = read_file(path, files.read) if path is not None else {}
    packaged: dict[str, dict[str, Declaration]] = {kind: {} for kind in KINDS}
    for where in _packaged():
        for kind, named in read_file(where).items():
            for name, each in named.items():
                other = packaged[kind].setdefault(name, each)
                if other.tables != each.tables and name not in users.get(kind, {}):
                    raise UsageProblem(
                        f"{where}: {KEY}.{kind}.{name} is not what {other.where} declares: say which in a policy file "
                        "of your own, which counts before both",
                        where,
                    )
    ours = read_file(OURS)
    return {kind: {**ours.get(kind, {}), **packaged[kind], **users.get(kind, {})} for kind in KINDS}


def read_file(
    where: str, parse: Callable[[str], Mapping[str, object]] = files.parse
) -> Mapping[str, Mapping[str, Declaration]]:
    """Kind → class → what a file says of it.

    Raises:
        UsageProblem: It cannot be read so; the sentence names the file, for the command may be about another one.
    """
    try:
        declare = parse(where).get(KEY, {})
    except UsageProblem as error:
        raise UsageProblem(f"{where}: {error}", where) from error
    place = at(where)
    if not isinstance(declare, Mapping):
        place.refuse(f"should be a table with {' and '.join(KINDS)}")
    found: dict[str, Mapping[str, Declaration]] = {}
    for kind, classes in declare.items():
        if kind not in KINDS:
            place.refuse_key(kind, KINDS)
        if not isinstance(classes, Mapping):
            at(where, kind).refuse("should be a table of classes")
        found[kind] = {name: _declaration(each, at(where, kind, name)) for name, each in classes.items()}
    return found


def at(where: str, *keys: str) -> Place:
    """A place in a file of declarations."""
    return Place(where, f"{where}: {'.'.join((KEY, *keys))}")


def _declaration(value: object, place: Place) -> Declaration:
    given = value if isinstance(value, list) else [value]
    tables = tuple(each for each in given if isinstance(each, Mapping))
    if not tables or len(tables) < len(given):
        place.refuse("should be a table, or a list of tables")
    return Declaration(tables, place.where)


def _packaged() -> Iterator[str]:
    """The files that entry points of installed packages name: `package:file.toml`, `package.data:file.toml`."""
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=GROUP)):
        yield _located(point)


def _located(point: "EntryPoint") -> str:
    """The file that an entry point names, found without importing the package."""
    from importlib.util import find_spec

    package, _, name = point.value.partition(":")
    top, *below = package.strip().split(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        spec = None
    for root in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = os.path.join(root, *below, name.strip())
        if os.path.isfile(path):
            return path
    raise UsageProblem(
        f"the entry point {point.name!r} of {GROUP} names {point.value!r}, which is no file of an installed package: "
        "say package:file.toml"
    )
