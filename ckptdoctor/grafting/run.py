"""A graft from paths to receipt: examine both sides, plan, carry out."""

import os
from collections.abc import Callable
from typing import NamedTuple

from ckptdoctor.containers.tensors.values import release
from ckptdoctor.errors import GraftRefused
from ckptdoctor.examination import Examination, examine, expect_libhdf5, with_libhdf5
from ckptdoctor.formats.registry import check as require_place
from ckptdoctor.formats.registry import program
from ckptdoctor.grafting.building.apply import carry_out
from ckptdoctor.grafting.building.inputs import Inputs
from ckptdoctor.grafting.building.output_name import require_loadable_name
from ckptdoctor.grafting.building.receipt import Receipt
from ckptdoctor.grafting.building.staging import check_output
from ckptdoctor.grafting.options import Options
from ckptdoctor.grafting.plan import Plan
from ckptdoctor.grafting.planning.planner import make_plan
from ckptdoctor.grafting.planning.several import apart, graft_each, together
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.workplace import at_hand

Path = str | os.PathLike[str]


def look(path: Path, what: str) -> Examination:
    """Examines the one artifact that a path means.

    Raises:
        UnreadableArtifact: It cannot be read.
        UsageProblem: Nothing is at this path.
    """
    found = list(examine(path))
    if len(found) != 1:
        raise GraftRefused(f"the {what} should be one artifact, {os.fspath(path)} holds {len(found)}")
    if found[0].error is not None:
        raise found[0].error
    return found[0]


@at_hand("donor", "target", output="output")
def plan_graft(
    donor: Path | None, target: Path, output: Path, options: Options | None = None, *, overwrite: bool = False
) -> Plan:
    """Plans a graft without writing anything; raises what `graft` does, but for what only writing can tell."""
    sides = _look(donor, target)
    options = _for_each(sides, options or Options())
    if options.more:
        plans = [plan_graft(donor, target, output, each, overwrite=overwrite) for each in apart(options)]
        return together(plans, plans[0].target, plans[0].output)
    plan, source, goal, inputs = _prepare(sides, output, options)
    check_output(plan.output, list(inputs.artifacts), overwrite=overwrite, clear=False)
    require_loadable_name(plan.output, goal.resolved, plan.format)
    with_libhdf5(require_place, goal.format, plan.optimizer, goal.resolved, sides=(source, goal), reads=True)
    return plan


@at_hand("donor", "target", output="output")
def graft(
    donor: Path | None,
    target: Path,
    output: Path,
    options: Options | None = None,
    *,
    overwrite: bool = False,
    sha256: bool = False,
    check: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Receipt:
    """Writes `output`: the target's model with the donor's optimizer state, in the target's format.

    Args:
        donor: Where the optimizer state comes from; None to set the count only.
        target: The artifact that is completed; it is not changed.
        output: What is written.
        options: What is asked for.
        overwrite: Replace what lies under the output's name.
        sha256: Digest files over 64 MiB for the receipt too.
        check: Called with the staged result before it is put in place; it raises to stop.
        progress: Told how many bytes of how many are done.

    Raises:
        GraftRefused: It would be incompatible, ambiguous or incomplete, or the output exists; nothing was written.
        UnreadableArtifact: An input cannot be read.
        UsageProblem: A path does not exist.
    """
    sides = _look(donor, target)
    options = _for_each(sides, options or Options())
    if options.more:
        plan_graft(donor, target, output, options, overwrite=overwrite)  # what would be refused is refused before
        more = {"overwrite": overwrite, "sha256": sha256, "check": check, "progress": progress}
        return graft_each(graft, donor, target, output, options, **more)
    expect_libhdf5(sides)
    plan, source, goal, inputs = _prepare(sides, output, options)
    try:
        return carry_out(plan, source, goal, inputs, overwrite=overwrite, sha256=sha256, check=check, progress=progress)
    finally:
        release()


class _Sides(NamedTuple):
    """Both artifacts, as they were examined."""

    donor: Examination | None
    target: Examination


def _look(donor: Path | None, target: Path) -> _Sides:
    goal = look(target, "target")
    if goal.state is None:
        raise GraftRefused("the target cannot be read", goal.path)
    return _Sides(look(donor, "donor") if donor is not None else None, goal)


def _for_each(sides: _Sides, options: Options) -> Options:
    """A request for every optimizer, where PyTorch's files have several on both sides, or the target has none."""
    donor = sides.donor.state if sides.donor is not None else None
    target = sides.target.state
    if options.optimizer is not None or donor is None or target is None:
        return options
    theirs, mine = ([each.name for each in side.optimizers] for side in (donor, target))
    if len(theirs) <= 1 or len(mine) not in {0, len(theirs)} or not dialect(program(target)).by_parameter:
        return options
    goals = theirs if not mine or set(mine) == set(theirs) else mine
    named = [f"{one}={other}" for one, other in zip(theirs, goals, strict=True)]
    return options._replace(optimizer=named[0], more=tuple(named[1:]))


def _prepare(sides: _Sides, output: Path, options: Options) -> tuple[Plan, Examination | None, Examination, Inputs]:
    source, goal = sides
    inputs = Inputs([each.resolved for each in (source, goal) if each is not None])
    if goal.state is None:
        raise GraftRefused("the target cannot be read", goal.path)
    state = source.state if source is not None else None
    # A trailing slash says that the output is a directory, which the target decides.
    place = os.fspath(output).rstrip("/") or os.fspath(output)
    plan = with_libhdf5(make_plan, state, goal.state, place, options, sides=sides, reads=True)
    return plan, source, goal, inputs
