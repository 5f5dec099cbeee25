"""The check itself: each path located, examined, judged by the rules and weighed by the policy, one after another."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from ckptdoctor.checking.ahead import Ahead
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
from ckptdoctor.formats.directories import lying_in, spoken, walk
from ckptdoctor.formats.locate import locate
from ckptdoctor.runs import has_checkpoints, has_latest, is_run_directory, look_into


def check_paths(
    paths: Iterable[str],
    policy: Policy,
    *,
    everything: bool = False,
    progress: Progress | None = None,
    begun: Callable[[str], None] | None = None,
    upcoming: Sequence[str] = (),
) -> Iterator[Checked]:
    """Checks artifacts, one after another.

    Args:
        paths: Files, directories, checkpoint prefixes.
        policy: What they are judged by.
        everything: Of a directory, every artifact that lies there, not only the latest checkpoint.
        progress: Is told how much of an artifact's data has been read, where `policy.deep` asks for it.
        begun: Is told the path of each artifact of a directory before it is read.
        upcoming: The paths once more, where `paths` must not be taken before their turn: HDF5 is read ahead.

    Yields:
        One result an artifact, as soon as it is known; of a run directory, one more for the directory as a whole
        unless it stands for a single artifact. An artifact of several files that is named by more than one of them, as
        pre-commit names what changed, is judged once.
    """
    seen: dict[str, bool] = {}
    ahead = Ahead(upcoming)
    for path in paths:
        ahead.arrive()
        yield from _check_path(path, policy, seen, ahead, everything=everything, progress=progress, begun=begun)


def _check_path(
    path: str,
    policy: Policy,
    seen: dict[str, bool],
    ahead: Ahead,
    *,
    everything: bool,
    progress: Progress | None,
    begun: Callable[[str], None] | None,
) -> Iterator[Checked]:
    try:
        if is_run_directory(path):
            yield from _check_directory(path, policy, everything=everything, progress=progress, begun=begun)
            return
        for target in ahead.targets(path, everything=everything):
            place = os.path.normpath(target.resolved)
            part = target.resolved != path
            if place in seen and (part or seen[place]):
                continue
            seen[place] = part
            examination = examine_target(target, judged=False)
            if not policy.deep:  # the worker is wanted for this one's values
                ahead.start()
            yield _check(examination, policy, progress)
    except UsageProblem as error:
        yield Checked(path, None, passed=False, problem=str(error), exit_code=error.exit_code)
    except UnreadableArtifact as error:
        yield _check(unreadable(path, path, error), policy, progress)
    except (MemoryError, RecursionError):
        for each in examine(path):  # says so
            yield _check(each, policy, progress)


def _check_directory(
    path: str, policy: Policy, *, everything: bool, progress: Progress | None, begun: Callable[[str], None] | None
) -> Iterator[Checked]:
    if everything:
        runs = list(walk(path))
    else:
        own = lying_in(path)
        if own and has_latest(path):
            yield from _check_latest(path, own, policy, progress)
            return
        runs = [(path, own)] if len(own) > 1 else []
    if not runs:
        # The one that lies here; or why there is none: it is empty, or of a kind that is not read.
        for each in examine(path):
            yield _check(each, policy, progress)
        return
    for directory, targets in runs:
        yield from _check_all(directory, targets, policy, progress=progress, begun=begun)


def _check_latest(
    path: str, targets: tuple[Target, ...], policy: Policy, progress: Progress | None
) -> Iterator[Checked]:
    """The latest checkpoint of a run, which stands for the directory."""
    own = policy.for_path(path)
    for target in locate(path):
        latest = examine_target(target, judged=False)
        run = look_into(path, targets, _known([latest]))
        examination, found = _judged(latest, own, progress)
        more = unsaid(judge(Evidence(path, run=run)), found)
        yield _weighed(path, examination, (*found, *more), own)


def _check_all(
    path: str,
    targets: tuple[Target, ...],
    policy: Policy,
    *,
    progress: Progress | None,
    begun: Callable[[str], None] | None,
) -> Iterator[Checked]:
    """Every artifact of a directory; of several, or of a run, the directory as a whole as well."""
    known: list[Examination] = []
    failed = 0
    for target in targets:
        if begun is not None:
            begun(target.path)
        examination = examine_target(target, judged=False)
        known.append(examination)
        checked = _check(examination, policy, progress)
        failed += not checked.passed
        yield checked
    if len(targets) > 1 or has_checkpoints(path):
        whole = Evidence(path, run=look_into(path, targets, _known(known)))
        judged = _weighed(path, None, judge(whole), policy.for_path(path))
        yield replace(judged, members=len(known), failed_members=failed)


def _known(examinations: Iterable[Examination]) -> Callable[[Target], Examination]:
    examined = {each.resolved: each for each in examinations}
    return lambda target: examined.get(target.resolved) or examine_target(target, judged=False)


def _check(examination: Examination, policy: Policy, progress: Progress | None) -> Checked:
    own = policy.for_path(examination.path)
    examination, found = _judged(examination, own, progress)
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
                scan_state, state, examination.resolved, sides=[examination], progress=progress, limited=True
            )
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
