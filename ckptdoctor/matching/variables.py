"""Which of the donor's variables is which of the target's: by name, by structure, by order.

In a comparison the donor is A and the target B.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ckptdoctor.errors import Unmatchable
from ckptdoctor.optimizers.planned import Matched
from ckptdoctor.state import ModelVariable

Shape = tuple[int, ...]
_Key: TypeAlias = Callable[[str], str]

# What frameworks put around names, and users never did.
_NOISE = frozenset({
    "model", "layers", "_operations", "_layers", "training", "vars", "cell", "_layer_checkpoint_dependencies",
    "optimizer", "_trainable_variables", "variables", "trainable_variables",
})  # fmt: skip
_OUTPUT = re.compile(r":\d+\Z")
_COUNTED = re.compile(r"(?:layer(?:_with_weights)?-)?\d+\Z")
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


def named(variable: ModelVariable) -> Named:
    """A model's variable, as it is matched."""
    return Named(variable.path, variable.tensor.shape, variable.aliases)


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
    _by_key(found, target, donor, str, "path")
    for key in (normalized, _without_model, _last_two):
        _by_key(found, target, donor, key, "name")
    for key in (normalized, _without_model, _last_two):
        _by_count(found, target, donor, key)
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
            if not any(ours in targets for _, ours in pairs):
                side, lacking = (called.target, new) if pairs else (called.donor, old)
                names = targets if pairs else donors
                near = _near(lacking, {f"{name.rpartition('/')[0]}/" for name in names})
                raise Unmatchable(f"--map {old}={new}: {side} has no such variable below {lacking!r}{near}")
        else:
            pairs = [(old, new)]
        for theirs, ours in pairs:
            if theirs not in donors:
                raise Unmatchable(
                    f"--map {old}={new}: {called.donor} has no variable {theirs!r}{_near(theirs, donors)}"
                )
            if ours not in targets:
                if old.endswith("/"):
                    continue
                raise Unmatchable(f"--map {old}={new}: {called.target} has no variable {ours!r}{_near(ours, targets)}")
            source, goal = donors[theirs], targets[ours]
            if source.shape != goal.shape:
                raise Unmatchable(
                    f"--map {old}={new}: {source.path} has shape {list(source.shape)}, {goal.path} {list(goal.shape)}"
                )
            if found.get(goal.path, Match(source.path, "map")).donor != source.path:
                raise Unmatchable(f"--map gives {goal.path} two counterparts: {found[goal.path].donor}, {source.path}")
            found[goal.path] = Match(source.path, "map")
    return found


def _near(name: str, names: Iterable[str]) -> str:
    """`; did you mean …?`, where a name is like one that is there."""
    from difflib import get_close_matches

    near = get_close_matches(name, list(names), n=2)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _by_key(found: dict[str, Match], target: Sequence[Named], donor: Sequence[Named], key: _Key, how: Matched) -> None:
    """Matches variables that share a name under `key`, where it is unique on both sides and the shapes agree."""
    rest = [each for each in target if each.path not in found]
    for mine, other in _pairs(rest, _free(found, donor), key, _named):
        same = mine.path == other.path
        found[mine.path] = Match(other.path, "path" if same else "name" if how == "path" else how)


def _by_count(found: dict[str, Match], target: Sequence[Named], donor: Sequence[Named], key: _Key) -> None:
    """Matches variables that both sides count alike: what no name says rests on the order of layers."""
    rest = [each for each in target if each.path not in found]
    repeated = Counter(each.shape for each in rest)
    for mine, other in _pairs(rest, _free(found, donor), key, _counted):
        found[mine.path] = _placed(other.path, repeated=repeated[mine.shape] > 1)


def _named(variable: Named) -> Iterable[str]:
    """Names that somebody gave."""
    return (variable.path, *(alias for alias in variable.aliases if not counts(alias)))


def _counted(variable: Named) -> Iterable[str]:
    """Names that count."""
    return (name for name in variable.names if counts(name))


def counts(name: str) -> bool:
    """Whether a name says which layer it is of how many: `layer_with_weights-1/kernel`, `layers/dense_1/vars/0`."""
    return any(_COUNTED.match(part) for part in name.split("/"))


def _pairs(
    target: Sequence[Named], donor: Sequence[Named], key: _Key, names: Callable[[Named], Iterable[str]]
) -> Iterator[tuple[Named, Named]]:
    """Variables of both sides that alone have some name there, where the shapes agree; each once."""

    def index(variables: Iterable[Named]) -> dict[str, list[Named]]:
        table: dict[str, list[Named]] = {}
        for each in variables:
            for name in dict.fromkeys(map(key, names(each))):
                table.setdefault(name, []).append(each)
        return table

    theirs = index(donor)
    seen: set[str] = set()
    taken: set[str] = set()
    for name, mine in index(target).items():
        options = [each for each in theirs.get(name, []) if each.shape == mine[0].shape]
        if not name or len(mine) != 1 or len(options) != 1 or mine[0].path in seen or options[0].path in taken:
            continue
        seen.add(mine[0].path)
        taken.add(options[0].path)
        yield mine[0], options[0]


def _without_model(name: str) -> str:
    """Keras 3.3 and later begin a Sequential model's paths with its name: `m/hidden/kernel`."""
    rest = normalized(name).partition("/")[2]
    return rest if "/" in rest else ""  # `kernel` alone is what every layer has


def _last_two(name: str) -> str:
    """Layer and weight: `hidden/kernel`."""
    parts = normalized(name).split("/")
    return "/".join(parts[-2:]) if len(parts) > 1 else ""


def _placed(donor: str, *, repeated: bool) -> Match:
    """A match by place: with the shape alone for a check, which tells nothing where others have it too."""
    return Match(donor, "order" if repeated else "structure", ambiguous=repeated)


def _by_order(found: dict[str, Match], target: Sequence[Named], donor: Sequence[Named]) -> None:
    """What is left, if it is the same sequence of shapes and the same last names on both sides."""
    ours = [each for each in target if each.path not in found]
    theirs = _free(found, donor)
    if not ours or [each.shape for each in ours] != [each.shape for each in theirs]:
        return
    repeated = Counter(each.shape for each in ours)
    for mine, other in zip(ours, theirs, strict=True):
        found[mine.path] = _placed(other.path, repeated=repeated[mine.shape] > 1)


def by_shape(found: Mapping[str, Match], target: Sequence[Named], donor: Sequence[Named]) -> dict[str, Match]:
    """What is left after `match`, wherever one variable of each side alone has its shape."""
    ours, theirs = [each for each in target if each.path not in found], _free(found, donor)
    mine, others = Counter(each.shape for each in ours), Counter(each.shape for each in theirs)
    lone = {each.shape: each.path for each in theirs if others[each.shape] == 1}
    return {
        each.path: Match(lone[each.shape], "structure")
        for each in ours
        if each.shape and mine[each.shape] == 1 and each.shape in lone
    }


def explain_unmatched(missing: Sequence[Named], donor: Sequence[Named], found: Mapping[str, Match]) -> str:
    """What is missing, what it might be, and every `--map` line that it takes, the likeliest for each: by order."""
    free = _free(found, donor)
    pairs: list[tuple[str, str]] = []
    lone: list[str] = []
    choices = False
    for each in missing:
        options = [other for other in free if other.shape == each.shape]
        if not options:
            lone.append(f"{each.path}: the donor has no variable of shape {list(each.shape)} left")
            continue
        choices = choices or len(options) > 1
        pairs.append((options[0].path, each.path))
        free.remove(options[0])
    text = []
    if pairs:
        doubt = " (by order; their shapes fit others as well)" if choices else ""
        text.append(f"if they are these{doubt}, say so with {map_lines(pairs, donor)}")
    more = f"; and {len(lone) - _SHOWN} more" if len(lone) > _SHOWN else ""
    return "; ".join([*text, *lone[:_SHOWN]]) + more


def map_lines(pairs: Sequence[tuple[str, str]], donor: Sequence[Named]) -> str:
    """The `--map` options for pairs of a donor's and a target's variable; one for all of a layer where that says it."""
    groups: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for old, new in pairs:
        groups.setdefault((old.rpartition("/")[0], new.rpartition("/")[0]), []).append((old, new))
    lines: list[str] = []
    names = [name for each in donor for name in each.names]
    for (source, goal), members in groups.items():
        same = all(old.rpartition("/")[2] == new.rpartition("/")[2] for old, new in members)
        below = {name for name in names if name.startswith(f"{source}/")}
        if len(members) > 1 and source and goal and same and below == {old for old, _ in members}:
            lines.append(f"--map {source}/={goal}/")
        else:
            lines += [f"--map {old}={new}" for old, new in members]
    return " ".join(lines)
