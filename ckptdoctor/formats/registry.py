"""Every format by its record, every reader by its name; what they name is imported by the first that needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ckptdoctor.errors import GraftRefused, Refused, UsageProblem
from ckptdoctor.formats import dumps, flax, keras, orbax, safetensors, tensorflow, torch
from ckptdoctor.formats.contract import ArtifactFormat, Pointer, Reader, Stripped, Target, Written
from ckptdoctor.state import Format, Generation, TrainingState

if TYPE_CHECKING:
    from ckptdoctor.containers.tensors.shard_data import NewValues
    from ckptdoctor.optimizers.planned import PlannedOptimizer

UNKNOWN = ArtifactFormat(Format.UNKNOWN, title="unknown", called="of no known format", rename_to="what it is")
_FAMILIES = (tensorflow, keras, dumps, torch, orbax, flax, safetensors)
FORMATS: tuple[ArtifactFormat, ...] = (*(each for family in _FAMILIES for each in family.FORMATS), UNKNOWN)
READERS: tuple[Reader, ...] = (
    *(each for family in _FAMILIES for each in family.READERS),
    Reader("unknown", "ckptdoctor.formats.single_files:say_why", (UNKNOWN.id,)),
)

_FORMATS = {each.id: each for each in FORMATS}
_READERS = {each.id: each for each in READERS}


def record(kind: Format) -> ArtifactFormat:
    """What a format says of itself."""
    return _FORMATS[kind]


def endings(*, models: bool = False, prefixes: bool = True) -> tuple[str, ...]:
    """Endings of names, the longest first.

    Args:
        models: Those of models alone, not of mere arrays.
        prefixes: Those too that stay a part of a name, for any format.
    """
    staying = set() if prefixes else {ending for each in FORMATS if each.is_prefix for ending in each.endings}
    found = {
        ending
        for each in FORMATS
        if not (models and each.holds == "bare-list")
        for ending in (*each.endings, *(() if models else each.required))
    }
    return tuple(sorted(found - staying, key=lambda ending: (-len(ending), ending)))


_module = cache(import_module)


def named(function: str) -> Any:
    """The function that a record names."""
    module, _, name = function.partition(":")
    return getattr(_module(module), name)


def reader(name: str) -> Callable[[str], TrainingState]:
    """What reads artifacts, by its name."""
    function: Callable[[str], TrainingState] = named(_READERS[name].read)
    return function


def read(target: Target) -> TrainingState:
    """What an artifact holds.

    Raises:
        UnreadableArtifact: It cannot be read.
        UsageProblem: Weights were named for what has its own, or names what is its.
    """
    if not target.weights:
        return reader(target.reader)(target.resolved)
    function = _READERS[target.reader].alone
    if function is None:
        raise UsageProblem("--model is for an optimizer that PyTorch saved alone, and this is none")
    state: TrainingState = named(function)(target.resolved, target.weights)
    return state


def claimed(given: str, path: str, names: AbstractSet[str]) -> Target | None:
    """The artifact that a directory is, as the readers of directories say."""
    return _first((each.claims for each in READERS), given, path, names)


def latest(given: str, path: str, names: Sequence[str]) -> Target | None:
    """The artifact that is meant by a directory of several, as the readers of such directories say."""
    return _first((each.latest for each in READERS), given, path, names)


def pointer(path: str, names: Sequence[str]) -> Pointer | None:
    """What a framework itself would resume from, of the checkpoints in a directory.

    Raises:
        UnreadableArtifact: What says so cannot be read.
    """
    for function in dict.fromkeys(each.points for each in READERS):
        found: Pointer | None = named(function)(path, names) if function is not None else None
        if found is not None:
            return found
    return None


def _first(functions: Iterable[str | None], *arguments: object) -> Target | None:
    for function in dict.fromkeys(functions):
        found: Target | None = named(function)(*arguments) if function is not None else None
        if found is not None:
            return found
    return None


def is_isolated(name: str) -> bool:
    """Whether a reader of this name calls a library that crashes on some corrupt files."""
    return any(record(kind).isolated for kind in _READERS[name].formats)


def only_format(name: str) -> Format:
    """The format that a reader of this name reads; unknown if it reads several."""
    formats = _READERS[name].formats
    return formats[0] if len(formats) == 1 else UNKNOWN.id


def program(state: TrainingState) -> Generation | None:
    """The generation of optimizers that an artifact's own framework has, where its structure tells that."""
    function = record(state.format).program
    found: Generation | None = named(function)(state) if function else None
    return found


def bundle(kind: Format, path: str) -> str | None:
    """The prefix of the checkpoint that holds an artifact's variables; None if there is none."""
    function = record(kind).bundle
    prefix: str | None = named(function)(path) if function else None
    return prefix


def tables(kind: Format, path: str) -> tuple[str, ...]:
    """The files of an artifact that are tables with checksums of their own."""
    function = record(kind).tables
    found: tuple[str, ...] = named(function)(path) if function else ()
    return found


def ending_as(kind: Format, target: str) -> str | None:
    """The ending that a copy of a target has to have; None for any."""
    function = record(kind).ending_as
    ending: str | None = named(function)(target) if function else None
    return ending


def found_by(kind: Format, output: str) -> tuple[str, ...]:
    """Sentences about what else has to name a new artifact."""
    function = record(kind).found_by
    notes: tuple[str, ...] = named(function)(output) if function else ()
    return notes


def check(kind: Format, optimizer: PlannedOptimizer, target: str) -> None:
    """Raises what `write` would, before anything is written.

    Raises:
        GraftRefused: The target has no place for this state.
    """
    named(_writable(kind, target).check or "")(optimizer, target)


def write(kind: Format, optimizer: PlannedOptimizer, target: str, output: str, **options: object) -> Written:
    """Writes a copy of a target with this optimizer.

    Args:
        kind: The target's format.
        optimizer: The optimizer.
        target: What is completed; it is only read.
        output: What is written; it must not exist.
        **options: `link`, `loss_from`, `progress`; those go on that the format's writer takes.

    Raises:
        GraftRefused: The target has no place for this state.
    """
    format_ = _writable(kind, target)
    taken = {name: options[name] for name in format_.write_options}
    written: Written = named(format_.write or "")(optimizer, target, output, **taken)
    return written


def create(kind: Format, state: TrainingState, source: str, output: str, **options: object) -> Written:
    """Writes an artifact of another format anew.

    Args:
        kind: The format.
        state: What the artifact holds.
        source: Where it is.
        output: What is written; it must not exist.
        **options: `max_shard`, `like`, `progress`; those go on that the format's function takes.

    Raises:
        GraftRefused: The format has no place for it, is not written, or is like no other.
    """
    function = record(kind).create
    if function is None:
        raise GraftRefused(f"a {record(kind).title} is not written anew", source)
    found = named(function)
    given = {name: each for name, each in options.items() if each is not None}
    if "like" in given and "like" not in found.__kwdefaults__:
        raise GraftRefused(f"--like is for models of Keras, and a {record(kind).title} is to be written", source)
    written: Written = found(
        state, source, output, **{name: given[name] for name in given & found.__kwdefaults__.keys()}
    )
    return written


def refill(
    kind: Format,
    values: NewValues,
    target: str,
    output: str,
    progress: Callable[[int], None] | None = None,
) -> NewValues:
    """Writes a copy of a target in which tensors have other values.

    Args:
        kind: The target's format.
        values: The tensors, as its reader tells them, and what is in them from then on.
        target: What is copied; it is only read.
        output: What is written; it must not exist.
        progress: Told how many more bytes are written.

    Returns:
        These values, and those of what is stored a second time.

    Raises:
        Refused: Values of this format are not exchanged.
    """
    function = record(kind).refill
    if function is None:
        raise Refused(f"values of a {record(kind).title} are not exchanged", target)
    written: NewValues = named(function)(values, target, output, progress)
    return written


def strip(kind: Format, target: str, output: str, progress: Callable[[int], None] | None = None) -> Stripped:
    """Writes a copy of a target without its optimizer state.

    Args:
        kind: The target's format.
        target: What is copied; it is only read.
        output: What is written; it must not exist.
        progress: Told how many more bytes are written.

    Raises:
        Refused: It cannot be without, or has none.
    """
    found = record(kind)
    if found.strip is None:
        raise Refused(found.unstrippable or "it holds no optimizer state: there is nothing to strip", target)
    stripped: Stripped = named(found.strip)(target, output, progress)
    return stripped


def _writable(kind: Format, target: str) -> ArtifactFormat:
    found = record(kind)
    if found.write is None:
        raise GraftRefused(found.unwritable, target)
    return found
