"""Sub-objects whose order nothing tells: which arrangements of them agree with the shapes that an optimizer holds.

Variables of one object stay together, and only siblings of which the order is unknown change places. Siblings of equal
shapes could be exchanged in every arrangement, so that what belongs to which of them is not told, unless their names
are numbered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias

from ckptdoctor.optimizers.layout import Shape, Trained

_MOST_STEPS = 20_000
_MOST_ANSWERS = 64


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
    parts: tuple[_Part, ...]
    signature: str


class _Part(NamedTuple):
    """A variable (its index), or siblings that may change places."""

    at: int = -1
    siblings: tuple[_Sibling, ...] = ()


def arrange(shapes: Sequence[Shape], candidates: Sequence[Trained], loose: Loose) -> tuple[int | None, ...] | None:
    """For each shape the index of its variable, None where it cannot be told; None if no arrangement has the shapes.

    Args:
        shapes: Of the trained variables, in the optimizer's order.
        candidates: As many variables, in the order of the model as far as it is known.
        loose: Whose place is not known.
    """
    if Counter(shapes) != Counter(each.shape for each in candidates):
        return None
    links = [loose.get(each.path, ()) for each in candidates]
    known = [each.shape for each in candidates]
    parts = _parts(known, range(len(candidates)), links, 0)
    first: tuple[int, ...] | None = None
    same = [True] * len(shapes)
    for number, answer in enumerate(_arrangements(shapes, known, parts)):
        if answer is None or number >= _MOST_ANSWERS:
            return None
        first = first or answer
        same = [agreed and one == other for agreed, one, other in zip(same, first, answer, strict=True)]
    if first is None:
        return None
    twins = _twins(parts)
    return tuple(None if not agreed or index in twins else index for index, agreed in zip(first, same, strict=True))


def _parts(
    known: Sequence[Shape], indices: Sequence[int], links: Sequence[tuple[LooseLink, ...]], depth: int
) -> tuple[_Part, ...]:
    """The tree of what moves together."""

    def parent(index: int) -> int | None:
        return links[index][depth].parent if len(links[index]) > depth else None

    def sibling(inside: Sequence[int]) -> _Sibling:
        parts = _parts(known, inside, links, depth + 1)
        return _Sibling(links[inside[0]][depth].stem, parts, _signature(known, parts))

    found: list[_Part] = []
    for key, run in groupby(indices, key=parent):
        if key is None:
            found.extend(_Part(index) for index in run)
        else:
            members = [list(each) for _, each in groupby(run, key=lambda index: links[index][depth].number)]
            found.append(_Part(siblings=tuple(sibling(each) for each in members)))
    return tuple(found)


def _signature(known: Sequence[Shape], parts: Sequence[_Part]) -> str:
    """The shapes of parts, and of which siblings in any order."""
    return "".join(
        f"[{','.join(sorted(each.signature for each in part.siblings))}]" if part.siblings else str(known[part.at])
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
            yield part.at


_Agenda: TypeAlias = "tuple[_Part, _Agenda] | None"
_Chain: TypeAlias = "tuple[_Chain, int] | None"


def _ahead(parts: Sequence[_Part], agenda: _Agenda) -> _Agenda:
    for part in reversed(parts):
        agenda = (part, agenda)
    return agenda


def _arrangements(
    shapes: Sequence[Shape], known: Sequence[Shape], parts: Sequence[_Part]
) -> Iterator[tuple[int, ...] | None]:
    """Every arrangement with these shapes, twins in one order only; None when it takes too long."""
    steps = 0
    pending: list[tuple[int, _Chain, _Agenda]] = [(0, None, _ahead(parts, None))]
    while pending:
        matched, chosen, agenda = pending.pop()
        while agenda is not None and not agenda[0].siblings:
            part, agenda = agenda
            if shapes[matched] != known[part.at]:
                break
            matched, chosen = matched + 1, (chosen, part.at)
        else:
            if agenda is None:
                yield _chosen(chosen)
                continue
            part, agenda = agenda
            tried: set[str] = set()
            choices = []
            for at, each in enumerate(part.siblings):
                steps += 1
                if steps > _MOST_STEPS:
                    yield None
                    return
                if each.signature in tried:
                    continue
                tried.add(each.signature)
                rest = part.siblings[:at] + part.siblings[at + 1 :]
                after = _ahead([_Part(siblings=rest)], agenda) if rest else agenda
                choices.append((matched, chosen, _ahead(each.parts, after)))
            pending.extend(reversed(choices))


def _chosen(chain: _Chain) -> tuple[int, ...]:
    indices: list[int] = []
    while chain is not None:
        chain, index = chain
        indices.append(index)
    return tuple(reversed(indices))
