"""The table of losses in loaders.json: which loader restores what from which kind of artifact, as pure data.

It is read once, and only when somebody asks about an artifact that holds optimizer state.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from ckptdoctor.diagnosis.circumstances import CIRCUMSTANCES
from ckptdoctor.diagnosis.loaders import Loader, own_loader
from ckptdoctor.state import OptimizerState, TrainingState
from ckptdoctor.versions import release

OBSERVED = "observed"
"""The circumstance that only the framework itself can tell."""


class Call(NamedTuple):
    """A call that restores what the usual one does not.

    Attributes:
        text: As code or words; `{build}` stands for building each of the optimizers that are meant.
        attempt: The key of verify's attempt that proves it; "" if there is none.
    """

    text: str
    attempt: str = ""

    def for_optimizers(self, names: Iterable[str]) -> str:
        """The text for optimizers that the model has in these attributes."""
        built = [f"model.{name.replace('/', '.')}.build(the variables that it trains)" for name in names]
        return self.text.replace("{build}", ", ".join(built))


class Target(NamedTuple):
    """What a graft writes the state into.

    Attributes:
        into: A name that says what it has to be (`MODEL.keras`); `PATH` is the artifact itself.
        generation: The `--as` that converts it; "" if none is needed.
    """

    into: str
    generation: str = ""


class Row(NamedTuple):
    """A loss: what a loader does with a kind of artifact. The fields are explained at the top of loaders.json."""

    id: str
    rule: str
    lines: tuple[str, ...]
    versions: str
    own: str | None
    formats: tuple[str, ...]
    generations: tuple[str, ...]
    classes: tuple[str, ...]
    producer: tuple[str, str]
    when: tuple[str, ...]
    call: str
    does: str
    iterations: str
    slots: str
    weights: str
    signal: str
    says: str
    instead: Call | None
    graft: Target | None
    usual: str
    fix: str
    evidence: str


class Loss(NamedTuple):
    """A row that applies to an optimizer of an artifact."""

    row: Row
    optimizer: OptimizerState


@cache
def _document() -> Mapping[str, Any]:
    with open(os.path.join(os.path.dirname(__file__), "loaders.json"), encoding="utf-8") as file:
        found: Mapping[str, Any] = json.load(file)
    return found


@cache
def table() -> tuple[Row, ...]:
    """Every row."""
    return tuple(map(_row, _document()["rows"]))


def _row(fields: Mapping[str, Any]) -> Row:
    graft = fields.get("graft")
    instead = _document()["calls"][fields["instead"]] if fields.get("instead") else None
    producer = fields.get("producer", {})
    return Row(
        id=fields["id"],
        rule=fields["rule"],
        lines=tuple(fields["loader"]),
        versions=fields["versions"],
        own=fields.get("own"),
        formats=tuple(fields["formats"]),
        generations=tuple(fields.get("generations", ())),
        classes=tuple(fields.get("classes", ())),
        producer=(producer.get("since", ""), producer.get("before", "")),
        when=tuple(fields.get("when", ())),
        call=fields["call"],
        does=fields["does"],
        iterations=fields["iterations"],
        slots=fields["slots"],
        weights=fields["weights"],
        signal=fields["signal"],
        says=fields.get("says", ""),
        instead=Call(instead["text"], instead.get("attempt", "")) if instead else None,
        graft=Target(graft["into"], graft.get("as", "")) if graft else None,
        usual=fields.get("usual", ""),
        fix=fields.get("fix", ""),
        evidence=fields["evidence"],
    )


def rows(state: TrainingState, loader: Loader | None = None) -> tuple[Loss, ...]:
    """What a loader would lose of an artifact.

    Args:
        state: The artifact.
        loader: The loader; None for that of the version that wrote it. Of versions that are not known, only what holds
            for every one counts.
    """
    using = own_loader(state) if loader is None else loader
    if using is None:
        return ()
    found: list[Loss] = []
    for optimizer in _at_stake(state):
        seen: set[str] = set()
        for row in _applying(state, optimizer):
            if row.call in seen or using.line not in row.lines:
                continue
            specifier = row.own if loader is None else row.versions
            if specifier is not None and holds(specifier, using.line_version):
                seen.add(row.call)
                found.append(Loss(row, optimizer))
    return tuple(found)


def tells(state: TrainingState, rule: str) -> bool:
    """Whether there are losses that this rule tells of, in artifacts like this one."""
    return any(rule in _rules(state.format.value, _generation(each)) for each in state.optimizers)


def every(state: TrainingState) -> tuple[Loss, ...]:
    """What any loader of any version would lose of an artifact."""
    found: list[Loss] = []
    for optimizer in _at_stake(state):
        settled: set[tuple[str, str]] = set()
        for row in _applying(state, optimizer):
            if all((line, row.call) in settled for line in row.lines):
                continue
            found.append(Loss(row, optimizer))
            settled.update((line, row.call) for line in row.lines if not row.versions)
    return tuple(found)


def observed(state: TrainingState, loader: Loader, usual: str, *, by: str | None) -> Row | None:
    """The row that explains what a framework was seen to lose by a usual call.

    Args:
        state: The artifact.
        loader: What loaded it.
        usual: The key of the call.
        by: The key of the attempt that restored it, whose row goes before others.
    """
    candidates = [each.row for each in rows(state, loader) if each.row.usual == usual]
    candidates += [row for row in table() if OBSERVED in row.when and row.usual == usual and loader.line in row.lines]
    proven = (row for row in candidates if by is not None and row.instead is not None and row.instead.attempt == by)
    return next(proven, candidates[0] if candidates else None)


def _at_stake(state: TrainingState) -> Iterator[OptimizerState]:
    """The optimizers that hold something which can be lost: not those that never stepped."""
    for each in state.optimizers:
        if each.iterations or (each.iterations is None and each.slots):
            yield each


def _applying(state: TrainingState, optimizer: OptimizerState) -> Iterator[Row]:
    """The rows that apply to an optimizer, whatever loads it."""
    for row in _about(state.format.value, _generation(optimizer)):
        if (
            (not row.classes or optimizer.class_name in row.classes)
            and all(CIRCUMSTANCES[each](state, optimizer) for each in row.when)
            and _written_between(state, *row.producer)
        ):
            yield row


def _generation(optimizer: OptimizerState) -> str:
    return optimizer.generation.value if optimizer.generation else ""


@cache
def _rules(kind: str, generation: str) -> frozenset[str]:
    return frozenset(row.rule for row in _about(kind, generation))


@cache
def _about(kind: str, generation: str) -> tuple[Row, ...]:
    """The rows about optimizers of a generation in artifacts of a format."""
    return tuple(
        _row(each)
        for each in _document()["rows"]
        if OBSERVED not in each.get("when", ())
        and kind in each["formats"]
        and generation in each.get("generations", ())
    )


def _written_between(state: TrainingState, since: str, before: str) -> bool:
    """Whether the artifact was written since one version and before another; no if it does not say by which."""
    if not since and not before:
        return True
    known = release(state.producer.version)
    return bool(known) and known >= release(since) and (not before or known < release(before))


def holds(specifier: str, version: str) -> bool:
    """Whether a version is among those of a specifier; what is not known is among all of them only."""
    if not specifier or not version:
        return not specifier
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    try:
        release = Version(version).base_version
    except ValueError:  # InvalidVersion, or more digits than Python turns into a number
        return False
    return SpecifierSet(specifier).contains(release)
