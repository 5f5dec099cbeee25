"""Plans and receipts of grafts, as text, JSON and Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ckptdoctor import __version__
from ckptdoctor.grafting.building.receipt import FileRecord, Receipt
from ckptdoctor.grafting.plan import Plan
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.planned import PlannedSlot
from ckptdoctor.references import TensorRef
from ckptdoctor.report.inspect.json import plain
from ckptdoctor.report.shared.escape import printable
from ckptdoctor.report.shared.facts import human_bytes, shape_text
from ckptdoctor.report.shared.streams import forces_color, wraps

SCHEMA = "ckptdoctor.graft/1"
LISTED = 200
"""Variables that a text lists: nobody reads thirty thousand lines, which took a quarter of such a graft's time."""
_MATCHED = {
    "map": "--map",
    "path": "same path",
    "name": "same name",
    "structure": "structure",
    "order": "order only",
    "weights": "order, confirmed by equal weights",
    "equal": "equal weights",
    "own": "its own",
}


def render_plan(plan: Plan, form: str, *, quiet: bool, color: bool) -> str:
    """A plan, before it is carried out."""
    if form == "json":
        return _json({"plan": _plan(plan)})
    if form == "markdown":
        return _markdown(_lines(plan, "would write"), plan, quiet=quiet)
    return _text(_lines(plan, "would write"), plan, quiet=quiet, color=color)


def render_receipt(receipt: Receipt, form: str, *, quiet: bool, color: bool) -> str:
    """A receipt, after a graft."""
    plan = receipt.plan
    lines = _lines(plan, "wrote")
    written = receipt.written
    new, copied, shared = map(human_bytes, written[1:4])
    lines.append(("bytes", f"{new} new, {copied} copied, {shared} shared"))
    lines += [("note", note) for note in written.notes]
    lines += [("sha256", _digest(each)) for each in (*dict.fromkeys(receipt.inputs), *receipt.outputs)]
    if form == "json":
        return _json({
            "plan": _plan(plan),
            "notes": list(written.notes),
            "bytes": {"new": written.bytes_new, "copied": written.bytes_copied, "shared": written.bytes_linked},
            "inputs": [each._asdict() for each in receipt.inputs],
            "outputs": [each._asdict() for each in receipt.outputs],
        })  # fmt: skip
    if form == "markdown":
        return _markdown(lines, plan, quiet=quiet)
    return _text(lines, plan, quiet=quiet, color=color)


def _digest(file: FileRecord) -> str:
    if file.sha256 is None:
        return f"not of {file.path}, {human_bytes(file.size)} ({file.omitted})"
    return f"{file.sha256}  {file.path}"


def _json(body: dict[str, Any]) -> str:
    return json.dumps({"schema": SCHEMA, "version": __version__, **body}, allow_nan=False) + "\n"


def _plan(plan: Plan) -> dict[str, Any]:
    optimizer = plan.optimizer
    return {
        "donor": plan.donor,
        "target": plan.target,
        "output": plan.output,
        "format": plan.format.value,
        "optimizer": {
            "name": optimizer.name,
            "class": optimizer.class_name,
            "generation": optimizer.generation.value,
            "iterations": optimizer.iterations,
            "hyperparameters": plain(dict(optimizer.hyperparameters)),
            "schedule": optimizer.schedule.class_name if optimizer.schedule else None,
            "singles": plain(dict(optimizer.singles)),
            "wrapper": optimizer.wrapper[0] if optimizer.wrapper else None,
            "slots": [_slot(each) for each in optimizer.slots],
            "bytes": sum(each.nbytes for each in optimizer.slots),
        },
        "unmatched": [{"variable": name, "reason": reason} for name, reason in plan.unmatched],
        "unused": [each._asdict() for each in plan.unused],
        "warnings": list(plan.warnings),
        **({"before": [_plan(each) for each in plan.before]} if plan.before else {}),
    }


def _slot(slot: PlannedSlot) -> dict[str, Any]:
    return {
        "name": slot.kind.name,
        "role": slot.kind.role.value,
        "variable": slot.variable,
        "shape": list(slot.shape),
        "dtype": slot.dtype,
        "bytes": slot.nbytes,
        "from": slot.source.key if slot.source is not None else None,
        "start": _start(slot),
        "donor_variable": slot.donor_variable,
        "matched": slot.matched,
        "translation": slot.formula or None,
    }


def _origins(slots: Sequence[PlannedSlot]) -> str:
    """Where slots come from: `8 from the donor, 0 empty`; the target's own stay where only a count is set."""
    own = sum(slot.matched == "own" for slot in slots)
    empty = sum(slot.source is None for slot in slots)
    given = len(slots) - own - empty
    parts = [f"{own:,} as they were"] if own else []
    if given or not own:
        parts.append(f"{given:,} from the donor")
    return ", ".join([*parts, f"{empty:,} empty"])


def _start(slot: PlannedSlot) -> str | float | None:
    """What an empty slot holds: a number, or the key of the model's own tensor that it is a copy of."""
    if slot.source is not None:
        return None
    return slot.start.key if isinstance(slot.start, TensorRef) else slot.start


def _lines(plan: Plan, verb: str) -> list[tuple[str, str]]:
    where = f" from {plan.donor}" if plan.donor else ""
    all_of_them = [each.optimizer for each in (*plan.before, plan)]
    held = ", ".join(f"{each.class_name} at iteration {each.iterations:,}" for each in all_of_them)
    lines = [("", f"{plan.output}: {verb} {held}{where}"), ("into", plan.target)]
    for each in (*plan.before, plan):
        lines += _about(each)
    return lines


def _about(plan: Plan) -> list[tuple[str, str]]:
    """The lines about one optimizer."""
    optimizer = plan.optimizer
    size = sum(slot.nbytes for slot in optimizer.slots)
    lines = [
        ("optimizer", f"{optimizer.class_name}, {dialect(optimizer.generation).short}, as {optimizer.name}"),
        ("slots", f"{_origins(optimizer.slots)}, {human_bytes(size)}"),
    ]
    formulas = sorted({slot.formula for slot in optimizer.slots if slot.formula})
    lines += [("translated", formula) for formula in formulas]
    for name, value in optimizer.singles.items():
        lines.append(("computed", f"{name} {value:.6g}"))
    if plan.unmatched:
        lines.append(("empty", "; ".join(f"{name} ({reason})" for name, reason in plan.unmatched[:8])))
    lines += [("", each) for each in _begun(optimizer.slots)]
    lines += [("warning", each) for each in plan.warnings]
    return lines


def _begun(slots: Sequence[PlannedSlot]) -> list[str]:
    """What empty slots hold, where that is not zero."""
    begun = {
        slot.kind.name: "the weights" if isinstance(slot.start, TensorRef) else f"{slot.start:g}"
        for slot in slots
        if slot.source is None and slot.start
    }
    return [f"an empty {name} holds {value}, as in a new optimizer" for name, value in begun.items()]


def _rows(plan: Plan) -> list[tuple[str, str, str, str]]:
    rows: dict[str, tuple[list[str], PlannedSlot]] = {}
    for slot in (slot for each in (*plan.before, plan) for slot in each.optimizer.slots):
        rows.setdefault(slot.variable, ([], slot))[0].append(slot.kind.name if slot.source else f"({slot.kind.name})")
    return [(name, shape_text(first.shape), ", ".join(kinds), _from(first)) for name, (kinds, first) in rows.items()]


def _more(rows: Sequence[object]) -> list[str]:
    more = len(rows) - LISTED
    return [f"and {more:,} more: --format json has all of them"] if more > 0 else []


def _from(slot: PlannedSlot) -> str:
    return f"{slot.donor_variable} ({_MATCHED[slot.matched]})" if slot.matched is not None else "-"


def _text(lines: list[tuple[str, str]], plan: Plan, *, quiet: bool, color: bool) -> str:
    told = printable(lines[0][1])
    if quiet and not wraps() and not (color and forces_color()):
        return f"{told}\n"  # without what draws: it takes longer to load than this graft's plan
    from rich.text import Text

    from ckptdoctor.report.shared.console import drawn, headline, open_console

    console, out = open_console(color=color)
    headline(console, Text(told, style="bold"))
    if not quiet:
        from rich.padding import Padding
        from rich.table import Table

        facts = Table.grid(padding=(0, 2, 0, 0))
        facts.add_column(style="dim", no_wrap=True, min_width=11)
        facts.add_column(overflow="fold")
        for label, text in lines[1:]:
            facts.add_row(label, Text(printable(text), style="yellow" if label == "warning" else ""))
        console.print(Padding(facts, (0, 0, 0, 2)))
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        for column in ("variable", "shape", "slots", "from"):
            table.add_column(column, overflow="fold")
        rows = _rows(plan)
        for row in rows[:LISTED]:
            table.add_row(*(Text(printable(cell)) for cell in row))
        if plan.optimizer.slots:
            console.print(Padding(table, (1, 0, 0, 2)))
        for each in _more(rows):
            console.print(Padding(Text(each, style="dim"), (0, 0, 0, 2)))
    return drawn(out)


def _markdown(lines: list[tuple[str, str]], plan: Plan, *, quiet: bool) -> str:
    from ckptdoctor.report.inspect.markdown import code, escape

    if quiet:
        return f"- {escape(lines[0][1])}\n"
    text = [f"### {escape(lines[0][1])}", "", "| | |", "| --- | --- |"]
    text += [f"| {label} | {escape(value)} |" for label, value in lines[1:]]
    text += ["", "| variable | shape | slots | from |", "| --- | --- | --- | --- |"]
    rows = _rows(plan)
    text += [
        f"| {code(name)} | {shape} | {escape(kinds)} | {escape(source)} |"
        for name, shape, kinds, source in rows[:LISTED]
    ]
    return "\n".join([*text, *(each for more in _more(rows) for each in ("", more)), ""])
