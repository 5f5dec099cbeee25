"""Sub-objects whose order nothing tells: which arrangements of them agree with the shapes that an optimizer holds.

Variables of one object stay together, and only siblings of which the order is unknown change places. Siblings of equal
shapes could be exchanged in every arrangement, so that what belongs to which of them is not told, unless their names
are numbered. What an unknown layer does not train are the last of its weights: Keras stores those that it trains first
(`Layer.save_own_variables`).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias

from ckptdoctor.optimizers.lists.layout import Shape, Trained
from ckptdoctor.optimizers.lists.searching import MOST_STEPS, Chain, agreed, chosen, layer_runs


class LooseLink(NamedTuple):
    """One of several siblings: the object that they are in, the sibling's number, and what its name begins with."""

    parent: int
    number: int
    stem: str = ""


Loose: TypeAlias = Mapping[str, tuple[LooseLink, ...]]
"""Path of a variable → the links above it, outermost first."""


class _Sibling(NamedTuple):
    """What is in one of several siblings; those of one signature have the same arrangements."""

    stem: str
    parts: "tuple[_Part, ...]"
    signature: str


class _Part(NamedTuple):
    """An object's own variables (their indices), or siblings that may change places."""

    own: tuple[int, ...] = ()
    siblings: tuple[_Sibling, ...] = ()


def arrange(shapes: Sequence[Shape], candidates: Sequence[Trained], loose: Loose) -> tuple[int | None, ...] | None:
    """For each shape the index of its variable, None where it cannot be told; None if no arrangement has the shapes.

    Args:
        shapes: Of the trained variables, in the optimizer's order.
        candidates: The variables that may be trained, in the order of the model as far as it is known. Some may be left
            out: which of an unknown layer's weights it trains is in no file.
        loose: Whose place is not known.
    """
    spare = Counter(each.shape for each in candidates)
    spare.subtract(shapes)
    if min(spare.values(), default=0) < 0:
        return None
    known = [each.shape for each in candidates]
    runs = layer_runs(candidates)
    parts = _parts(known, runs, [loose.get(candidates[run[0]].path, ()) for run in runs])
    answer = agreed(_arrangements(shapes, known, parts, spare), len(shapes))
    if answer is None:
        return None
    twins = _twins(parts)
    return tuple(None if index in twins else index for index in answer)


def _parts(
    known: Sequence[Shape], runs: Sequence[tuple[int, ...]], links: Sequence[tuple[LooseLink, ...]], depth: int = 0
) -> tuple[_Part, ...]:
    """The tree of what moves together, of each object's variables and the links above them."""

    def parent(at: int) -> int | None:
        return links[at][depth].parent if len(links[at]) > depth else None

    def sibling(inside: Sequence[int]) -> _Sibling:
        parts = _parts(known, [runs[at] for at in inside], [links[at] for at in inside], depth + 1)
        return _Sibling(links[inside[0]][depth].stem, parts, _signature(known, parts))

    found: list[_Part] = []
    for key, together in groupby(range(len(runs)), key=parent):
        if key is None:
            found.extend(_Part(runs[at]) for at in together)
        else:
            members = [list(each) for _, each in groupby(together, key=lambda at: links[at][depth].number)]
            found.append(_Part(siblings=tuple(sibling(each) for each in members)))
    return tuple(found)


def _signature(known: Sequence[Shape], parts: Sequence[_Part]) -> str:
    """The shapes of parts, and of which siblings in any order."""
    return "".join(
        f"[{','.join(sorted(each.signature for each in part.siblings))}]"
        if part.siblings
        else str([known[index] for index in part.own])
        for part in parts
    )


def _twins(parts: Sequence[_Part]) -> set[int]:
    """Variables of siblings that could be exchanged for one another."""
    found: set[int] = set()
    for part in parts:
        kinds: dict[str, list[_Sibling]] = {}
        for each in part.siblings:
            kinds.setdefault(each.signature, []).append(each)
        for alike in kinds.values():
            stems = {each.stem for each in alike}
            exchangeable = len(alike) > 1 and (len(stems) > 1 or "" in stems)
            for each in alike:
                found |= set(_indices(each.parts)) if exchangeable else _twins(each.parts)
    return found


def _indices(parts: Sequence[_Part]) -> Iterator[int]:
    for part in parts:
        if part.siblings:
            for each in part.siblings:
                yield from _indices(each.parts)
        else:
            yield from part.own


_Agenda: TypeAlias = "tuple[_Part, _Agenda] | None"


def _ahead(parts: Sequence[_Part], agenda: _Agenda) -> _Agenda:
    for part in reversed(parts):
        agenda = (part, agenda)
    return agenda


class _State(NamedTuple):
    """Shapes matched so far, whose they are, how many variables of each shape may be left out, and what is to come."""

    matched: int
    chosen: Chain
    spare: Mapping[Shape, int]
    agenda: _Agenda


def _arrangements(
    shapes: Sequence[Shape], known: Sequence[Shape], parts: Sequence[_Part], spare: Mapping[Shape, int]
) -> Iterator[tuple[int, ...] | None]:
    """Every arrangement with these shapes, twins in one order only; None when it takes too long."""
    pending = [_State(0, None, spare, _ahead(parts, None))]
    for _ in range(MOST_STEPS):
        if not pending:
            return
        state = pending.pop()
        if state.agenda is None:
            yield chosen(state.chosen)
            continue
        part, agenda = state.agenda
        state = state._replace(agenda=agenda)
        pending.extend(_in_turn(part, state) if part.siblings else _taken(shapes, known, part, state))
    yield None


def _taken(shapes: Sequence[Shape], known: Sequence[Shape], part: _Part, state: _State) -> Iterator[_State]:
    """An object's own variables are next, or the first of them; what is yielded last is tried first."""
    for count in range(len(part.own) + 1):
        at = state.matched + count
        if count and (at > len(shapes) or shapes[at - 1] != known[part.own[count - 1]]):
            return
        left = Counter(known[index] for index in part.own[count:])
        if all(state.spare[shape] >= many for shape, many in left.items()):
            spare = {shape: many - left[shape] for shape, many in state.spare.items()} if left else state.spare
            yield state._replace(matched=at, chosen=(state.chosen, part.own[:count]), spare=spare)


def _in_turn(part: _Part, state: _State) -> Iterator[_State]:
    """Each of the siblings comes next, one of each signature, and the others after it."""
    tried: dict[str, int] = {}
    for at, each in enumerate(part.siblings):
        tried.setdefault(each.signature, at)
    for at in reversed(tried.values()):
        rest = part.siblings[:at] + part.siblings[at + 1 :]
        after = _ahead([_Part(siblings=rest)], state.agenda) if rest else state.agenda
        yield state._replace(agenda=_ahead(part.siblings[at].parts, after))
