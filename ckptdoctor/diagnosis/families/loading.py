"""L: what the next step would be, and what a loader makes of the artifact."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ckptdoctor.diagnosis.evidence import Evidence, Found, Rule
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.diagnosis.loader_table import Loss, Row, rows, tells
from ckptdoctor.diagnosis.loaders import Loader, own_loader
from ckptdoctor.diagnosis.mending import graft_from, known_count, repair_of, set_count
from ckptdoctor.diagnosis.status import optimizer_status
from ckptdoctor.formats.registry import record
from ckptdoctor.optimizers.catalogue import SAME_RULE
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.state import OptimizerState, Status

_SIGNALS = {
    "silent": ", silently",
    "log": ", and only the log says so",
    "warning": ", with a warning only",
    "error": "",
}

_OF_TRAINERS = "torch"
"""The program above which trainers write files that differ between their versions."""


def _schedule_restarts(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for each in evidence.optimizers:
        kept = each.has_state or (each.recorded and not dialect(each.generation).by_parameter)
        if each.iterations is None and kept:
            yield from _without_count(evidence, each)
        elif each.iterations and evidence.loader is not None and evidence.state is not None:
            # Only the loader that was named: other calls of the producer's own may restore it, which L002 says.
            for loss in rows(evidence.state, evidence.loader):
                if loss.optimizer is each and loss.row.iterations == "lost" and loss.row.signal != "error":
                    yield from _count_dropped(evidence, loss, evidence.loader)


def _without_count(evidence: Evidence, optimizer: OptimizerState) -> Iterator[tuple[str, str]]:
    from ckptdoctor.diagnosis.lost_count import consequences

    known = known_count(evidence, optimizer)
    clauses = list(consequences(optimizer, known[0] if known else None))
    if clauses:
        hint = f"{known[0]:,} follows from {known[1]}: {set_count(evidence, known[0])}" if known else ""
        yield "; ".join(clauses), hint if optimizer.has_state else ""


def _count_dropped(evidence: Evidence, loss: Loss, loader: Loader) -> Iterator[tuple[str, str]]:
    from ckptdoctor.diagnosis.lost_count import consequences

    optimizer, row = loss.optimizer, loss.row
    count = optimizer.iterations if optimizer.iterations_reported is None else optimizer.iterations_reported
    clauses = list(consequences(optimizer, count, slots_lost=row.slots == "lost", scan=evidence.scan))
    if clauses:
        told = "; ".join(clauses)
        yield (
            f"{loader.whose} {row.call} loses the count. {told[0].upper()}{told[1:]}",
            remedy(loss, evidence.path, loader=loader),
        )


def _losses(rule: str) -> Callable[[Evidence], Iterator[Found]]:
    """The rule's function: what the table says of the loader that was named, or of the producer's own."""

    def find(evidence: Evidence) -> Iterator[Found]:
        state = evidence.state
        if state is None:
            return
        loader = evidence.loader or own_loader(state)
        if loader is None:
            return
        if rule == "L003" and evidence.loader is not None:
            yield from _of_another_program(state.optimizers, loader)
        if not tells(state, rule):
            return
        noun = record(state.format).noun
        found = [loss for loss in rows(state, evidence.loader) if loss.row.rule == rule]
        together: dict[Row, list[str]] = {}
        for loss in found:
            together.setdefault(loss.row, []).append(loss.optimizer.name)
        # Two optimizers of one kind are one finding.
        yield from dict.fromkeys(
            (_message(loss, loader, noun), remedy(loss, evidence.path, together[loss.row], loader), _weight(loss.row))
            for loss in found
        )

    return find


def _of_another_program(optimizers: Iterable[OptimizerState], loader: Loader) -> Iterator[Found]:
    """Keras' optimizers take no state of PyTorch's, whatever the versions; nor the other way round."""
    whose = [dialect(each.generation) for each in optimizers if each.generation is not None and each.has_state]
    for each in dict.fromkeys(each for each in whose if each.program != loader.program):
        yield (
            f"{loader.whose} optimizers take no state of {each.short}'s: this is not what it loads",
            "",
            Severity.WARNING,
        )


def _weight(row: Row) -> Severity:
    """New weights in silence are no matter of a warning."""
    return Severity.ERROR if row.weights == "lost" and row.signal == "silent" else Severity.WARNING


def _message(loss: Loss, loader: Loader, noun: str) -> str:
    complete = optimizer_status(loss.optimizer) is Status.COMPLETE
    return f"this {noun} is complete, but {statement(loss.row, loader)}" if complete else statement(loss.row, loader)


def statement(row: Row, loader: Loader) -> str:
    """What a loader does: `Keras 3.15's load_model(path) drops its slots: only the count is restored, …`."""
    return f"{loader.whose} {row.call} {row.does}{_SIGNALS[row.signal]}"


def remedy(loss: Loss, path: str, names: Iterable[str] = (), loader: Loader | None = None) -> str:
    """What restores it instead: a graft, a fix, a call.

    Args:
        loss: What is lost.
        path: The artifact.
        names: Of all optimizers that lose the same.
        loader: What loses it.
    """
    row = loss.row
    ways = []
    command = graft_command(loss, path)
    if command is not None and row.graft is not None:
        into = next((end for end in (".weights.h5", ".keras", ".h5") if row.graft.into.endswith(end)), "")
        ways.append(f"graft it{f' into a {into}' if into else ''}: {command}")
    if row.fix:
        of_trainer = loader is not None and loader.version and loader.program == _OF_TRAINERS
        options = ("--loader", f"{loader.package}=={loader.version}") if of_trainer and loader is not None else ()
        ways.append(f"mend it: {repair_of(path, row.fix, *options)}")
    if row.instead is not None:
        ways.append(f"what restores it: {row.instead.for_optimizers(names or [loss.optimizer.name])}")
    return "; or ".join(ways)


def graft_command(loss: Loss, path: str) -> str | None:
    """The command that writes the state into what the loader restores; None where no graft mends it."""
    graft = loss.row.graft
    if graft is None:
        return None
    options = ["--as", graft.generation] if graft.generation else []
    # Neither side records the class, and the order of the list depends on it: only the user knows.
    fitting = (loss.optimizer.class_name, *loss.optimizer.class_candidates)
    rules = {"Adam" if each in SAME_RULE else each for each in fitting}
    if graft.generation and graft.into.endswith(".weights.h5") and len(rules) > 1:
        options += ["--optimizer-class", "CLASS"]
    return graft_from(path, path if graft.into == "PATH" else graft.into, *options)


RULES: tuple[Rule, ...] = (
    Rule(
        "L001",
        "schedule-restarts",
        Severity.ERROR,
        "the learning rate would be x instead of y, and Adam's bias correction would start over",
        _schedule_restarts,
    ),
    Rule(
        "L002",
        "loader-drops-state",
        Severity.WARNING,
        "this loader and version ignores, skips or misplaces the state that is there",
        _losses("L002"),
    ),
    Rule(
        "L003",
        "generation-mismatch",
        Severity.WARNING,
        "the state is of another generation of optimizers than the loader's",
        _losses("L003"),
    ),
)
