"""Which of the donor's variables is which of the target's: by name, by structure, by order.

In a comparison the donor is A and the target B.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.errors import Unmatchable
from ckptdoctor.optimizers.planned import Matched

Shape = tuple[int, ...]

# What frameworks put around names, and users never did.
_NOISE = frozenset({
    "model", "layers", "_operations", "_layers", "training", "vars", "cell", "_layer_checkpoint_dependencies",
    "optimizer", "_trainable_variables", "variables", "trainable_variables",
})  # fmt: skip
_OUTPUT = re.compile(r":\d+\Z")
_SHOWN = 4


class Named(NamedTuple):
    """A variable, as one side knows it: its path, other names, and shape."""

    path: str
    shape: Shape
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, the path first."""
        return (self.path, *self.aliases)


class Match(NamedTuple):
    """A target variable's counterpart in the donor, and how it was found."""

    donor: str
    how: Matched
    ambiguous: bool = False


def normalized(name: str) -> str:
    """A name without what differs between generations: output numbers, private underscores, containers.

    `training/hidden/kernel:0`, `model/hidden/_kernel` and `hidden/kernel` are one.
    """
    parts = [part.lstrip("_") for part in _OUTPUT.sub("", name).split("/") if part not in _NOISE]
    return "/".join(part for part in parts if part)


class Called(NamedTuple):
    """What the two sides are called in messages."""

    donor: str
    target: str


IN_A_GRAFT = Called("the donor", "the target")


def match(
    target: Sequence[Named], donor: Sequence[Named], mapping: Mapping[str, str], called: Called = IN_A_GRAFT
) -> dict[str, Match]:
    """Finds each target variable's counterpart.

    Args:
        target: Variables of the target, in its optimizer's order.
        donor: Variables of the donor, in its optimizer's order.
        mapping: What the user says: donor name or prefix → target name or prefix.
        called: What messages call the two sides.

    Returns:
        Target path → match, for as many as there are.

    Raises:
        Unmatchable: A name that the user gave does not exist, or its shape does not fit.
    """
    found = _mapped(target, donor, mapping, called)
    for how, key in (("path", None), ("name", normalized), ("name", _without_model), ("name", _last_two)):
        _by_key(found, target, donor, key, how)  # type: ignore[arg-type]
    _by_order(found, target, donor)
    return found


def _free(found: Mapping[str, Match], donor: Iterable[Named]) -> list[Named]:
    taken = {each.donor for each in found.values()}
    return [each for each in donor if each.path not in taken]


def _mapped(
    target: Sequence[Named], donor: Sequence[Named], mapping: Mapping[str, str], called: Called
) -> dict[str, Match]:
    found: dict[str, Match] = {}
    targets = {name: each for each in target for name in each.names}
    donors = {name: each for each in donor for name in each.names}
    for old, new in mapping.items():
        if old.endswith("/"):
            pairs = [(name, new + name[len(old) :]) for name in donors if name.startswith(old)]
        else:
            pairs = [(old, new)]
        for theirs, ours in pairs:
            if theirs not in donors:
                raise Unmatchable(f"--map {old}={new}: {called.donor} has no variable {theirs!r}")
            if ours not in targets:
                if old.endswith("/"):
                    continue
                raise Unmatchable(f"--map {old}={new}: {called.target} has no variable {ours!r}")
            source, goal = donors[theirs], targets[ours]
            if source.shape != goal.shape:
                raise Unmatchable(
                    f"--map {old}={new}: {source.path} has shape {list(source.shape)}, {goal.path} {list(goal.shape)}"
                )
            found[goal.path] = Match(source.path, "map")
    return found


def _by_key(
    found: dict[str, Match], target: Sequence[Named], donor: Sequence[Named], key: object, how: Matched
) -> None:
    """Matches variables that share a name under `key`, where it is unique on both sides and the shapes agree."""

    def index(variables: Iterable[Named]) -> dict[str, list[Named]]:
        table: dict[str, list[Named]] = {}
        for each in variables:
            for name in dict.fromkeys(key(n) if callable(key) else n for n in each.names):
                table.setdefault(name, []).append(each)
        return table

    theirs = index(_free(found, donor))
    taken = {each.donor for each in found.values()}
    ours = index(each for each in target if each.path not in found)
    for name, mine in ours.items():
        options = [each for each in theirs.get(name, []) if each.shape == mine[0].shape]
        once = len(mine) == 1 and len(options) == 1 and mine[0].path not in found
        if name and once and options[0].path not in taken:
            same = mine[0].path == options[0].path
            found[mine[0].path] = Match(options[0].path, "path" if same else "name" if how == "path" else how)
            taken.add(options[0].path)


def _without_model(name: str) -> str:
    """Keras 3.3 and later begin a Sequential model's paths with its name: `m/hidden/kernel`."""
    return normalized(name).partition("/")[2]


def _last_two(name: str) -> str:
    """Layer and weight: `hidden/kernel`."""
    parts = normalized(name).split("/")
    return "/".join(parts[-2:]) if len(parts) > 1 else ""


def _by_order(found: dict[str, Match], target: Sequence[Named], donor: Sequence[Named]) -> None:
    """What is left, if it is the same sequence of shapes and the same last names on both sides."""
    ours = [each for each in target if each.path not in found]
    theirs = _free(found, donor)
    if not ours or [each.shape for each in ours] != [each.shape for each in theirs]:
        return
    counts = Counter(each.shape for each in ours)
    for mine, other in zip(ours, theirs, strict=True):
        repeated = counts[mine.shape] > 1
        found[mine.path] = Match(other.path, "order" if repeated else "structure", ambiguous=repeated)


def explain_unmatched(missing: Sequence[Named], donor: Sequence[Named], found: Mapping[str, Match]) -> str:
    """What is missing, what it might be, and the `--map` line that would settle it."""
    free = _free(found, donor)
    lines: list[str] = []
    for each in missing[:_SHOWN]:
        options = [other.path for other in free if other.shape == each.shape]
        if options:
            more = f" (or {', '.join(options[1:3])})" if len(options) > 1 else ""
            lines.append(f"{each.path}: --map {options[0]}={each.path}{more}")
        else:
            lines.append(f"{each.path}: the donor has no variable of shape {list(each.shape)} left")
    more = f"; and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    return "; ".join(lines) + more
