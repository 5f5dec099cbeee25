"""The check itself: each path located, examined, judged by the rules and weighed by the policy, in their order."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Literal, NamedTuple, TypeAlias

from ckptdoctor import storage
from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.results import Checked
from ckptdoctor.diagnosis.evidence import Evidence
from ckptdoctor.diagnosis.findings import Finding
from ckptdoctor.diagnosis.loaders import Loader
from ckptdoctor.diagnosis.rules import judge
from ckptdoctor.errors import EXIT_FINDINGS, EXIT_OK, UnreadableArtifact, UsageProblem
from ckptdoctor.examination import (
    Examination,
    Progress,
    examine,
    examine_target,
    unreadable,
    unsaid,
    with_libhdf5,
)
from ckptdoctor.formats.contract import Target
from ckptdoctor.formats.directories import lying_in, walk
from ckptdoctor.formats.locate import locate, spoken
from ckptdoctor.runs import has_checkpoints, has_latest, is_run_directory, look_into


class Looked(NamedTuple):
    """What reading an artifact gave, and judging it.

    Attributes:
        read: As it was read.
        judged: The same with its findings, or why it cannot be read to its end.
        found: Its findings, before the policy weighs them.
    """

    read: Examination
    judged: Examination
    found: tuple[Finding, ...]


class Step(NamedTuple):
    """Something that a path comes to.

    Attributes:
        path: A file, or a directory.
        targets: The artifacts to be read.
        kind: One artifact; the latest of a run, which stands for it; all of a directory; or what only `examine` tells.
        beside: What lies beside the latest.
    """

    path: str
    targets: tuple[Target, ...]
    kind: Literal["one", "latest", "all", "told"]
    beside: tuple[Target, ...] = ()


MANY = 64
"""So many small artifacts take longer than several workers take to start."""
Read = Callable[[Target, Policy], Looked]
"""Reads an artifact, and judges it by the policy for its path."""


def look(target: Target, policy: Policy, progress: Progress | None = None) -> Looked:
    """Reads an artifact and judges it; what a worker does, too.

    Args:
        target: The artifact.
        policy: What holds for its path.
        progress: Is told how much of its data has been read.
    """
    read = examine_target(target, judged=False)
    return Looked(read, *_judged(read, policy, progress))


def check_paths(
    paths: Iterable[str],
    policy: Policy,
    *,
    everything: bool = False,
    progress: Progress | None = None,
    begun: Callable[[str], None] | None = None,
    jobs: int | None = 1,
) -> Iterator[Checked]:
    """Checks artifacts.

    Args:
        paths: Files, directories, checkpoint prefixes.
        policy: What they are judged by.
        everything: Of a directory, every artifact that lies there, not only the latest checkpoint.
        progress: Is told how much of an artifact's data has been read, where `policy.deep` asks for it and one worker
            is at it.
        begun: Is told the path of each artifact of a directory before it is read.
        jobs: So many workers, whose artifacts are all looked for first; None for as many as there are processors, where
            there are many artifacts.

    Yields:
        One result an artifact, in the order of the paths, as soon as it is known; of a run directory, one more for the
        directory as a whole unless it stands for a single artifact. An artifact of several files that is named by more
        than one of them, as pre-commit names what changed, is judged once.
    """
    seen: dict[str, bool] = {}
    paths = map(storage.tellable, paths)
    if jobs != 1:
        from ckptdoctor.checking.workers import in_workers

        planned = [(path, _planned(path, seen, everything=everything)) for path in paths]
        every = [each for _, steps in planned if isinstance(steps, list) for each in steps]
        with in_workers(every, policy, jobs, progress) as read:
            for path, steps in planned:
                yield from _checked(path, steps, policy, read, begun)
        return
    for path in paths:
        steps = _planned(path, seen, everything=everything)
        yield from _checked(path, steps, policy, partial(look, progress=progress), begun)


def check_target(target: Target, policy: Policy) -> Checked:
    """Checks one artifact."""
    own = policy.for_path(target.path)
    looked = look(target, own)
    return _weighed(target.path, looked.judged, looked.found, own)


Failure: TypeAlias = UsageProblem | UnreadableArtifact | MemoryError | RecursionError


def _planned(path: str, seen: dict[str, bool], *, everything: bool) -> list[Step] | Failure:
    """What a path comes to, or why nothing can be found there."""
    try:
        return list(_steps(path, seen, everything=everything))
    except (UsageProblem, UnreadableArtifact, MemoryError, RecursionError) as error:
        return error


def _steps(path: str, seen: dict[str, bool], *, everything: bool) -> Iterator[Step]:
    if is_run_directory(path):
        yield from _of_directory(path, everything=everything)
        return
    for target in locate(path, everything=everything):
        place = storage.normal(target.resolved)
        part = target.resolved != path
        if place in seen and (part or seen[place]):
            continue
        seen[place] = part
        yield Step(path, (target,), "one")


def _of_directory(path: str, *, everything: bool) -> Iterator[Step]:
    if everything:
        runs = list(walk(path))
    else:
        own = lying_in(path)
        if own and has_latest(path):
            for target in locate(path):
                yield Step(path, (target,), "latest", own)
            return
        runs = [(path, own)] if len(own) > 1 else []
    for directory, targets in runs:
        yield Step(directory, targets, "all")
    if not runs:
        # The one that lies here; or why there is none: it is empty, or of a kind that is not read.
        yield Step(path, (), "told")


def _checked(
    path: str, steps: list[Step] | Failure, policy: Policy, read: Read, begun: Callable[[str], None] | None
) -> Iterator[Checked]:
    """The results of a path."""
    try:
        if not isinstance(steps, list):
            raise steps
        for step in steps:
            yield from _done(step, policy, read, begun)
    except UsageProblem as error:
        yield Checked(path, None, passed=False, problem=str(error), exit_code=error.exit_code)
    except UnreadableArtifact as error:
        yield _check(unreadable(path, path, error), policy)
    except (MemoryError, RecursionError):
        for each in examine(path):  # says so
            yield _check(each, policy)


def _done(step: Step, policy: Policy, read: Read, begun: Callable[[str], None] | None) -> Iterator[Checked]:
    if step.kind == "told":
        for each in examine(step.path):
            yield _check(each, policy)
    elif step.kind == "one":
        (target,) = step.targets
        own = policy.for_path(target.path)
        looked = read(target, own)
        yield _weighed(target.path, looked.judged, looked.found, own)
    elif step.kind == "latest":
        yield _latest(step, policy, read)
    else:
        yield from _all(step, policy, read, begun)


def _latest(step: Step, policy: Policy, read: Read) -> Checked:
    """The latest checkpoint of a run, which stands for the directory."""
    own = policy.for_path(step.path)
    (target,) = step.targets
    looked = read(target, own)
    run = look_into(step.path, step.beside, _known([looked.read]))
    more = unsaid(judge(Evidence(step.path, run=run)), looked.found)
    return _weighed(step.path, looked.judged, (*looked.found, *more), own)


def _all(step: Step, policy: Policy, read: Read, begun: Callable[[str], None] | None) -> Iterator[Checked]:
    """Every artifact of a directory; of several, or of a run, the directory as a whole as well."""
    known: list[Examination] = []
    failed = 0
    for target in step.targets:
        if begun is not None:
            begun(target.path)
        own = policy.for_path(target.path)
        looked = read(target, own)
        known.append(looked.read)
        checked = _weighed(target.path, looked.judged, looked.found, own)
        failed += not checked.passed
        yield checked
    if len(step.targets) > 1 or has_checkpoints(step.path):
        whole = Evidence(step.path, run=look_into(step.path, step.targets, _known(known)))
        judged = _weighed(step.path, None, judge(whole), policy.for_path(step.path))
        yield replace(judged, members=len(known), failed_members=failed)


def _known(examinations: Iterable[Examination]) -> Callable[[Target], Examination]:
    examined = {each.resolved: each for each in examinations}
    return lambda target: examined.get(target.resolved) or examine_target(target, judged=False)


def _check(examination: Examination, policy: Policy) -> Checked:
    own = policy.for_path(examination.path)
    examination, found = _judged(examination, own, None)
    return _weighed(examination.path, examination, found, own)


def _judged(
    examination: Examination, policy: Policy, progress: Progress | None
) -> tuple[Examination, tuple[Finding, ...]]:
    """The findings; what cannot be read to its end is an examination that says so."""
    state = examination.state
    if state is None:
        return examination, examination.findings
    scan = None
    if policy.deep:
        from ckptdoctor.checking.deep import scan as scan_state

        try:
            scan = with_libhdf5(
                scan_state, state, examination.resolved, sides=[examination], progress=progress, limited=True,
                reads=True,
            )  # fmt: skip
        except UnreadableArtifact as error:
            broken = unreadable(examination.path, examination.resolved, error)
            return broken, broken.findings
    evidence = Evidence(
        spoken(examination.resolved), state, scan=scan, loader=_loader(policy.loader), expected=policy.expected
    )
    found = judge(evidence)
    return examination._replace(findings=found), found


def _loader(name: str | None) -> Loader | None:
    if name is None:
        return None
    from ckptdoctor.diagnosis.loaders import parse_loader

    return parse_loader(name)


def _weighed(path: str, examination: Examination | None, found: tuple[Finding, ...], policy: Policy) -> Checked:
    findings = policy.weigh(found)
    examination = examination._replace(findings=findings) if examination is not None else None
    failed = policy.fails(findings)
    ignored = sum(policy.ignores(each.code) for each in found)
    error = examination.error if examination is not None else None
    code = error.exit_code if error is not None else EXIT_FINDINGS if failed else EXIT_OK
    return Checked(path, examination, findings, ignored, code == EXIT_OK, exit_code=code)
