"""Several optimizers in one graft: one after the other into a copy that nobody sees, the last one into its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ckptdoctor.grafting.building.receipt import Receipt
from ckptdoctor.grafting.building.staging import staging
from ckptdoctor.grafting.options import Options
from ckptdoctor.grafting.plan import Plan

Path = str | os.PathLike[str]


def apart(options: Options) -> list[Options]:
    """The request for each optimizer alone."""
    return [options._replace(optimizer=each, more=()) for each in (options.optimizer, *options.more)]


def together(plans: list[Plan], target: Path, output: Path) -> Plan:
    """One plan that tells all of them."""
    said = [each._replace(target=os.fspath(target), output=os.fspath(output)) for each in plans]
    return said[-1]._replace(before=tuple(said[:-1]))


def graft_each(
    graft: Callable[..., Receipt], donor: Path | None, target: Path, output: Path, options: Options, **more: Any
) -> Receipt:
    """Carries out each request on what the one before it has made.

    Args:
        graft: Carries out one request.
        donor: Where the state comes from.
        target: The artifact that is completed.
        output: What is written.
        options: What is asked for, of several optimizers.
        **more: What `graft` takes beside these, for the last one.
    """
    wanted = apart(options)
    place = os.fspath(output).rstrip("/") or os.fspath(output)
    receipts: list[Receipt] = []
    with staging(place) as folder:
        current = os.fspath(target)
        for number, each in enumerate(wanted[:-1]):
            inside = os.path.join(folder, str(number))
            os.mkdir(inside)
            step = os.path.join(inside, os.path.basename(place))
            receipts.append(graft(donor, current, step, each))
            current = step
        receipts.append(graft(donor, current, output, wanted[-1], **more))
    last = receipts[-1]
    out, before = last.plan.output, sum(each.written.bytes_new for each in receipts[:-1])
    written = last.written._replace(
        notes=tuple(
            dict.fromkeys(note.replace(each.plan.output, out) for each in receipts for note in each.written.notes)
        ),
        bytes_new=last.written.bytes_new + before,
        bytes_copied=max(0, last.written.bytes_copied - before),  # the copies between have what was new then
    )
    plan = together([each.plan for each in receipts], receipts[0].plan.target, out)
    return last._replace(plan=plan, written=written, inputs=receipts[0].inputs)
