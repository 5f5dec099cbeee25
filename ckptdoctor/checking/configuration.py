"""Where a policy comes from: a configuration file and the command line, checked and put together.

`[tool.ckptdoctor]` in the nearest pyproject.toml, or `ckptdoctor.toml`, which has the same keys at its top.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple, TypedDict

from ckptdoctor.checking.policy import Override, Policy, pattern_problem
from ckptdoctor.declarations import files, sources
from ckptdoctor.declarations.places import Place, shown
from ckptdoctor.diagnosis.expected import Part, Purpose
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.diagnosis.loaders import parse_loader
from ckptdoctor.diagnosis.rules import RULES
from ckptdoctor.errors import UsageProblem
from ckptdoctor.formats.keras import declared as layers
from ckptdoctor.optimizers import declared as optimizers

_MOST = (1 << 63) - 1
"""Counts are int64."""


class CheckSettings(TypedDict, total=False):
    """The settings of a check, as a configuration file has them (there with dashes)."""

    select: Sequence[str]
    ignore: Sequence[str]
    severities: Mapping[str, str]
    fail_on: str
    expect: str
    require: Sequence[str]
    min_iterations: int | None
    optimizer: str | None
    optimizers: Mapping[str, Mapping[str, object]]
    loader: str | None
    deep: bool


class Configuration(NamedTuple):
    """A policy, and where each of its settings comes from.

    Attributes:
        policy: What is in force.
        path: The configuration file; None without one.
        sources: Setting (as the file spells it) → `command line`, the file, or `default`.
        declared: `optimizers` and `layers` → the classes that the file declares.
    """

    policy: Policy
    path: str | None
    sources: Mapping[str, str]
    declared: Mapping[str, tuple[str, ...]]


def configure(given: Mapping[str, object], *, config: str | None = None, search: bool = True) -> Configuration:
    """The policy in force: the command line before the configuration file before the defaults.

    Args:
        given: What the command line sets, by the names of the settings (`min-iterations`).
        config: A configuration file.
        search: Without one, look for the nearest from the working directory upwards.

    Raises:
        UsageProblem: A file cannot be read, a setting is not known, or its value makes no sense.
    """
    path = config if config is not None or not search else files.nearest(os.curdir)
    table = files.read(path) if path is not None else {}
    overrides = table.pop("overrides", [])
    table.pop(sources.KEY, None)
    fields: dict[str, object] = {}
    origins = dict.fromkeys(_SETTINGS, "default")
    for where, settings in ((path or "", table), ("command line", given)):
        for name, value in settings.items():
            field, read = _setting(name, where)
            fields[field] = read(value, Place(where, name))
            origins[name] = where
    fields["overrides"] = _overrides(overrides, path or "")
    fields["fixed"] = frozenset(_setting(name, "command line")[0] for name in given)
    return Configuration(Policy(**fields), path, origins, _declared(path))  # type: ignore[arg-type]  # each was read by its own reader


def _declared(path: str | None) -> Mapping[str, tuple[str, ...]]:
    """The classes that a file declares, each of its declarations checked."""
    found = sources.read_file(path, files.read) if path is not None else {}
    for read, kind in ((optimizers.read, "optimizers"), (layers.read, "layers")):
        for name, each in found.get(kind, {}).items():
            read(name, each)
    return {kind: tuple(found.get(kind, ())) for kind in sources.KINDS}


def explain(configuration: Configuration) -> str:
    """What is in force and from where, one setting a line, as a configuration file would say it."""
    policy = configuration.policy
    lines = [f"# configuration file: {configuration.path or 'none'}"]
    for name, (field, _) in _SETTINGS.items():
        value = getattr(policy, field)
        if name == "optimizers":
            value = {json.dumps(each): {_SPELLED[key]: one for key, one in own.items()} for each, own in value.items()}
        unset = "# " if value is None else ""
        lines.append(f"{unset}{name} = {_toml(value)}  # {configuration.sources[name]}")
    for kind, names in configuration.declared.items():
        lines += [f"# declared {kind}: {', '.join(names)}"] if names else []
    for override in policy.overrides:
        lines += ["", "[[overrides]]", f"paths = {_toml(override.paths)}"]
        lines += [f"{_SPELLED[field]} = {_toml(value)}" for field, value in override.settings.items()]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (tuple, list)):
        return f"[{', '.join(_toml(each) for each in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key} = {_toml(each)}' for key, each in value.items())}}}"
    return json.dumps(str(getattr(value, "value", value)))


# ------------------------------------------------------------------------------------------------ reading the settings


_Reader = Callable[[object, Place], object]


def _setting(name: str, where: str, beside: str = "overrides") -> tuple[str, _Reader]:
    if name not in _SETTINGS:
        near = get_close_matches(name, [*_SETTINGS, beside, sources.KEY], n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(_SETTINGS)}"
        raise UsageProblem(f"unknown setting {shown(name)}{hint}", where or None)
    return _SETTINGS[name]


def _strings(value: object, place: Place) -> tuple[str, ...]:
    if not isinstance(value, (list, tuple)) or not all(isinstance(each, str) for each in value):
        place.refuse_value("a list of texts", value)
    return tuple(value)


def _codes(value: object, place: Place) -> tuple[str, ...]:
    codes = tuple(each.strip().upper() for each in _strings(value, place))
    for code in codes:
        _require_code(code, place)
    return codes


def _require_code(code: str, place: Place) -> None:
    if not code or not any(rule.code.startswith(code) for rule in RULES):
        near = get_close_matches(code, [rule.code for rule in RULES], n=3, cutoff=0.5)
        place.refuse(f"names no rule: {shown(code)}" + (f"; near are {', '.join(near)}" if near else ""))


def _severities(value: object, place: Place) -> Mapping[str, Severity]:
    if not isinstance(value, Mapping):
        place.refuse('should be a table of codes, such as {S010 = "warning"}')
    found: dict[str, Severity] = {}
    for name, text in value.items():
        code = str(name).strip().upper()
        _require_code(code, place)
        found[code] = _choice(Severity)(text, Place(place.where, f"{place.name}.{code}"))  # type: ignore[assignment]
    return found


def _choice(kind: type[Severity | Purpose | Part]) -> _Reader:
    def read(value: object, place: Place) -> object:
        known = [each.value for each in kind]
        if value not in known:
            near = get_close_matches(str(value), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            place.refuse_value(f"one of {', '.join(known)}", value, hint)
        return kind(value)

    return read


def _parts(value: object, place: Place) -> tuple[object, ...]:
    read = _choice(Part)
    return tuple(read(each, place) for each in _strings(value, place))


def _level(value: object, place: Place) -> object:
    if value not in (Severity.ERROR.value, Severity.WARNING.value):  # a set would have to hash what is given
        place.refuse_value("error or warning", value)
    return Severity(value)


def _count(value: object, place: Place) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        place.refuse_value("a whole number from 0 on", value)
    if value > _MOST:
        place.refuse_value(f"{_MOST} at most, which is more than any training counts", value)
    return value


def _flag(value: object, place: Place) -> bool:
    if not isinstance(value, bool):
        place.refuse_value("true or false", value)
    return value


def _text(value: object, place: Place) -> str:
    if not isinstance(value, str) or not value:
        place.refuse_value("a text", value)
    return value


def _loader(value: object, place: Place) -> str:
    text = _text(value, place)
    try:
        parse_loader(text)
    except UsageProblem as error:
        place.refuse(str(error), ": ")
    return text


_OF_ONE = ("require", "min-iterations", "optimizer")
"""What can be asked of one optimizer."""


def _optimizers(value: object, place: Place) -> Mapping[str, Mapping[str, object]]:
    wanted = f"a table of optimizers, each with some of {', '.join(_OF_ONE)}"
    if not isinstance(value, Mapping):
        place.refuse_value(wanted, value)
    found: dict[str, Mapping[str, object]] = {}
    for name, table in value.items():
        if not isinstance(table, Mapping) or not all(each in _OF_ONE for each in table):
            Place(place.where, f"{place.name}.{name}").refuse_value(f"a table with {', '.join(_OF_ONE)}", table)
        read = {each: _SETTINGS[each] for each in table}
        found[str(name)] = {
            field: reader(table[each], Place(place.where, f"{place.name}.{name}.{each}"))
            for each, (field, reader) in read.items()
        }
    return found


_SETTINGS: dict[str, tuple[str, _Reader]] = {
    "select": ("select", _codes),
    "ignore": ("ignore", _codes),
    "severities": ("severities", _severities),
    "fail-on": ("fail_on", _level),
    "expect": ("expect", _choice(Purpose)),
    "require": ("require", _parts),
    "min-iterations": ("min_iterations", _count),
    "optimizer": ("optimizer", _text),
    "optimizers": ("optimizers", _optimizers),
    "loader": ("loader", _loader),
    "deep": ("deep", _flag),
}
"""Settings as a file spells them → the field of `Policy`, and what reads their value."""

_SPELLED = {field: name for name, (field, _) in _SETTINGS.items()}


def _overrides(value: object, path: str) -> tuple[Override, ...]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise UsageProblem("overrides should be [[overrides]] tables, each with paths", path)
    return tuple(_override(dict(each), path) for each in value)


def _override(table: dict[str, object], path: str) -> Override:
    place = Place(path, "overrides.paths")
    paths = _strings(table.pop("paths", ()), place)
    settings: dict[str, object] = {}
    for name, value in table.items():
        field, read = _setting(name, path, "paths")
        settings[field] = read(value, Place(path, f"overrides.{name}"))
    if not paths:
        raise UsageProblem("an override has no paths to apply to", path)
    for pattern in paths:
        problem = pattern_problem(pattern)
        if problem is not None:
            place.refuse(f"has {shown(pattern)}, which is no pattern: {problem}")
    return Override(paths, settings, os.path.dirname(path) or ".")


def split_codes(values: Iterable[str]) -> list[str]:
    """`S,I00` and repeated options, as one list."""
    return [code for value in values for code in value.replace(" ", "").split(",") if code]
