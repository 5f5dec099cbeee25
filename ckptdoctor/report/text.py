"""What a person reads on a terminal: the verdict first, then a few facts, then details on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isclose
from typing import TYPE_CHECKING

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ckptdoctor.containers.dtypes import total_nbytes
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.diagnosis.status import covered, enumerate_some, slot_names
from ckptdoctor.report.console import drawn, headline, open_console
from ckptdoctor.report.escape import printable
from ckptdoctor.report.facts import (
    FORMATS,
    brief,
    figure,
    generation,
    human_bytes,
    shape_text,
    slot_rows,
    worth_showing,
)
from ckptdoctor.state import OptimizerState, Status, TrainingState

if TYPE_CHECKING:
    from ckptdoctor.examination import Examination

_STYLES = {
    Status.COMPLETE: "bold green",
    Status.FRESH: "bold yellow",
    Status.PARTIAL: "bold yellow",
    Status.ABSENT: "bold red",
    Status.UNREADABLE: "bold red",
}
_FINDING_STYLES = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}
_LABEL = 11


def render(
    examinations: Iterable[Examination],
    *,
    tensors: bool = False,
    stats: bool = False,
    quiet: bool = False,
    color: bool = True,
) -> str:
    """The report on each artifact, as wide as the terminal is."""
    console, out = open_console(color=color)
    readable = [each for each in examinations if each.state is not None]
    for number, each in enumerate(readable):
        if number and not quiet:
            console.print()
        _verdict(console, each)
        if not quiet:
            _details(console, each, tensors=tensors, stats=stats)
    return drawn(out)


def _verdict(console: Console, each: Examination) -> None:
    line = Text(printable(each.path), style="bold")
    line.append(": ", style="bold")
    line.append(printable(each.verdict), style=_STYLES[each.status])
    headline(console, line)


def _details(console: Console, each: Examination, *, tensors: bool, stats: bool) -> None:
    state = each.state
    if state is None:
        return
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True, min_width=_LABEL)
    facts.add_column(overflow="fold")

    def fact(label: str, text: str) -> None:
        facts.add_row(label, Text(printable(text)))

    fact("format", _format(each))
    fact("model", _model(state))
    for optimizer in state.optimizers:
        _optimizer_facts(fact, optimizer)
    if state.counters:
        fact("counters", ", ".join(f"{name} {value:,}" for name, value in state.counters.items()))
    console.print(Padding(facts, (0, 0, 0, 2)))
    several = len(state.optimizers) > 1
    for optimizer in state.optimizers:
        if optimizer.slots:
            heading = f"slot of {optimizer.name}" if several else "slot"
            console.print(Padding(_slot_table(optimizer, heading), (1, 0, 0, 2)))
    if tensors or stats:
        console.print(Padding(_tensor_table(each, state, stats=stats), (1, 0, 0, 2)))
    _findings(console, each)


def _format(each: Examination) -> str:
    state = each.state
    assert state is not None  # noqa: S101 - only readable artifacts are rendered
    text = FORMATS[state.format]
    if state.producer.framework:
        text += f", written by {state.producer.framework} {state.producer.version or ''}".rstrip()
    if each.resolved != each.path:
        text += f" ({each.resolved})"
    return text


def _model(state: TrainingState) -> str:
    stored = [variable for variable in state.variables if variable.tensor.location is not None]
    if not stored:
        return "no model variables are in it"
    size = total_nbytes([variable.tensor for variable in stored])
    text = f"{len(stored):,} variable{'' if len(stored) == 1 else 's'}, {human_bytes(size)}"
    frozen = sum(variable.trainable is False for variable in stored)
    return f"{text}, {frozen:,} not trainable" if frozen else text


def _optimizer_facts(add: Callable[[str, str], None], optimizer: OptimizerState) -> None:
    name = optimizer.class_name or "of unknown class"
    if optimizer.class_inferred and optimizer.class_candidates:
        name += f" (inferred; {' or '.join(optimizer.class_candidates[:3])} would fit too)"
    elif optimizer.class_inferred:
        name += " (inferred)"
    parts = [name]
    if optimizer.generation is not None:
        parts.append(generation(optimizer.generation))
    if optimizer.name and optimizer.name != "optimizer":
        parts.append(f"named {optimizer.name}")
    if optimizer.wrapper is not None:
        scale = optimizer.wrapper.loss_scale
        parts.append(f"in a {optimizer.wrapper.class_name}" + (f" at scale {scale:,.6g}" if scale is not None else ""))
    add("optimizer", ", ".join(parts))
    if optimizer.iterations is not None:
        reported = optimizer.iterations_reported
        more = f" (the framework reports {reported:,})" if reported is not None else ""
        add("iterations", f"{optimizer.iterations:,}{more}")
    elif optimizer.recoverable is not None:
        add("iterations", f"not stored; {optimizer.recoverable.value:,} follows from {optimizer.recoverable.source}")
    elif optimizer.has_state:
        add("iterations", "not stored")
    settings = ", ".join(f"{key} {figure(value)}" for key, value in worth_showing(optimizer.hyperparameters))
    if settings:
        add("settings", settings)
    schedule = optimizer.schedule
    if schedule is not None:
        add("schedule", schedule_text(optimizer))
    if optimizer.missing:
        names = list(dict.fromkeys(each.variable for each in optimizer.missing))
        add("missing", enumerate_some(names, 8))
    for note in optimizer.notes:
        add("note", note)


def schedule_text(optimizer: OptimizerState) -> str:
    """The schedule, the next learning rate, and what it would be if the count were lost."""
    schedule = optimizer.schedule
    if schedule is None:
        return ""
    if schedule.learning_rate is None:
        if schedule.learning_rate_if_lost is None:
            return f"{schedule.class_name}, which cannot be computed from its configuration"
        return f"{schedule.class_name}: without a count it restarts at {schedule.learning_rate_if_lost:.6g}"
    text = f"{schedule.class_name}: next learning rate {schedule.learning_rate:.6g}"
    lost = schedule.learning_rate_if_lost
    if lost is None or lost == schedule.learning_rate:
        return text
    ratio = lost / schedule.learning_rate if schedule.learning_rate else float("inf")
    times = "" if isclose(ratio, 1, rel_tol=0.1) else f", {ratio:,.3g} times"
    return f"{text}; if the count were lost {lost:.6g}{times}"


def _slot_table(optimizer: OptimizerState, heading: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for column in (printable(heading), "what it is"):
        table.add_column(Text(column), overflow="fold")
    for column in ("variables", "bytes"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in slot_rows(optimizer):
        table.add_row(
            Text(printable(row.name)),
            row.role.replace("_", " "),
            f"{row.have:,} of {row.total:,}",
            human_bytes(row.size),
        )
    return table


def _tensor_table(each: Examination, state: TrainingState, *, stats: bool) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("tensor", overflow="fold")
    table.add_column("type", no_wrap=True)
    found = each.statistics.values()
    # Columns that would hold nothing but zeros are left out: at 80 columns every one counts.
    rare = [name for name in ("nan", "inf") if any(getattr(figures, name, 0) for figures in found)]
    for column in ("min", "max", "mean", "zeros", *rare) if stats else ():
        table.add_column(column, justify="right", no_wrap=True)
    rows = [(variable.path, variable.tensor) for variable in state.variables]
    for optimizer in state.optimizers:
        rows += [(f"{slot.name} of {slot.variable or slot.tensor.key}", slot.tensor) for slot in optimizer.slots]
        rows += [(other.name, other.tensor) for other in optimizer.other]
    for name, ref in rows:
        cells: list[str | Text] = [Text(printable(name)), f"{ref.dtype or 'not stored'} {shape_text(ref.shape)}"]
        if stats:
            figures = each.statistics.get(ref)
            cells += [brief(getattr(figures, column, None)) for column in ("min", "max", "mean", "zeros", *rare)]
        table.add_row(*cells)
    return table


def _findings(console: Console, each: Examination) -> None:
    # How much of it is optimizer state, the table of slots has just said.
    shown = [finding for finding in each.findings if finding.code != "P002"]
    if not shown:
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in shown:
        message = printable(finding.message)
        text = Text(message)
        if finding.hint:
            text.append(f"\n{printable(finding.hint)}", style="dim")
        table.add_row(Text(finding.code, style=_FINDING_STYLES[finding.severity]), text)
    console.print(Padding(table, (1, 0, 0, 2)))


__all__ = ["covered", "render", "schedule_text", "slot_names"]
