"""`ckptdoctor check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ckptdoctor.cli.options import ANY_PATH, complain, deliver, listed_paths, output_options, reporting, wants_color
from ckptdoctor.cli.policy import configured, policy_options
from ckptdoctor.errors import EXIT_FINDINGS, EXIT_OK, UsageProblem

if TYPE_CHECKING:
    from ckptdoctor.checking.policy import Policy
    from ckptdoctor.checking.results import Checked, CheckReport

_FORMS = ("text", "json", "markdown", "github", "sarif", "junit", "html")


@click.command(short_help="Pre-flight check for CI: judge artifacts by rules and a policy.")
@click.argument("paths", metavar="PATH...", nargs=-1, type=ANY_PATH)
@policy_options
@click.option("--exit-zero", is_flag=True, help="Exit with 0 where there are findings, too.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="So many workers.  [default: for many, the processors]"
)
@click.option("--all", "everything", is_flag=True, help="Of a directory, every artifact in it and below.")
@click.option("--explain-config", is_flag=True, help="Show what is in force, and from where; check nothing.")
@click.option(
    "--report", "reports", multiple=True, metavar="FORM=FILE", help="Write a further report, such as sarif=out.sarif."
)
@output_options(*_FORMS)
@click.pass_context
def check(  # noqa: PLR0913 - a command takes its options as arguments
    context: click.Context,
    /,
    *,
    paths: tuple[str, ...],
    exit_zero: bool,
    jobs: int | None,
    everything: bool,
    explain_config: bool,
    reports: tuple[str, ...],
    form: str,
    output_file: str | None,
    quiet: bool,
    no_color: bool,
    **policy: Any,
) -> None:
    """Judge artifacts by rules and by a policy, and fail the build with a reason.

    PATH is a file, a SavedModel directory, a checkpoint prefix (run/ckpt-7), any of its files, or a run directory: then
    its latest checkpoint is judged, and the directory as a whole. `-` reads paths from standard input, one a line.

    Settings come from the command line, from [tool.ckptdoctor] in the nearest pyproject.toml, or from ckptdoctor.toml,
    which for every command also declares optimizers and layers of your own (docs/declare.md).
    `ckptdoctor explain CODE` says what a rule means.

    \b
    Exit codes:
      0  nothing at or above the --fail-on level
      1  findings
      2  wrong use, or no such path
      3  something cannot be read
    """  # noqa: D301 - \b is a backspace: click leaves the paragraph after it unwrapped
    from ckptdoctor.checking.configuration import Configuration, explain

    configuration: Configuration | None = None
    wanted: list[tuple[str, str]] = []
    with reporting() as outcome:
        configuration = configured(policy)
        wanted = [_report_wanted(each) for each in reports]
        paths = paths if explain_config else listed_paths(paths)
        if explain_config and form == "json":
            from ckptdoctor.report.check.json import render_configuration

            deliver(render_configuration(configuration), output_file, form=form)
        elif explain_config:
            deliver(explain(configuration), output_file, form="text")
    if configuration is None or outcome.exit_code or explain_config:
        context.exit(outcome.exit_code)
    color = wants_color(no_color) and output_file is None
    streams = form == "text" and output_file is None
    code = EXIT_OK
    with reporting() as outcome:
        report = _run(
            paths, configuration.policy, everything=everything, jobs=jobs, quiet=quiet, streams=streams, color=color
        )
        code = EXIT_OK if exit_zero and report.exit_code == EXIT_FINDINGS else report.exit_code
        _deliver(report, form, output_file, wanted, quiet=quiet, color=color, streamed=streams)
    context.exit(max(code, outcome.exit_code))


def _run(
    paths: tuple[str, ...],
    policy: Policy,
    *,
    everything: bool,
    jobs: int | None,
    quiet: bool,
    streams: bool,
    color: bool,
) -> CheckReport:
    """Checks path after path; what is known is shown at once, and kept if Ctrl-C ends it."""
    from ckptdoctor.checking.results import CheckReport
    from ckptdoctor.checking.run import MANY, check_paths
    from ckptdoctor.cli.interruption import remembered_interruption
    from ckptdoctor.cli.progress import path_progress
    from ckptdoctor.report.check import text as check_text

    if jobs is None and not everything and len(paths) < MANY:
        jobs = 1  # each is told of before the next is looked for
    results: list[Checked] = []
    interrupted = False
    with remembered_interruption() as interruption, path_progress(paths, wanted=not quiet) as bar:
        try:
            for each in check_paths(
                bar.following(paths) if jobs == 1 else paths,
                policy,
                everything=everything,
                progress=bar.tell,
                begun=bar.show,
                jobs=jobs,
            ):
                if interruption.asked:
                    break  # of an artifact that may not have been read to its end
                results.append(each)
                if jobs != 1:
                    bar.count(each.path, min(len(results), len(paths)))
                with bar.hidden():
                    if each.problem is not None:
                        complain(UsageProblem(each.problem), each.path)
                    elif streams:
                        deliver(check_text.result(each, policy, quiet=quiet, color=color), None, form="text")
        except KeyboardInterrupt:
            interrupted = True
        interrupted = interrupted or interruption.asked
    if interrupted:
        click.echo(f"ckptdoctor: interrupted after {len(results):,} results", err=True)
    return CheckReport(tuple(results), policy, interrupted)


def _deliver(
    report: CheckReport,
    form: str,
    output_file: str | None,
    wanted: list[tuple[str, str]],
    *,
    quiet: bool,
    color: bool,
    streamed: bool,
) -> None:
    from ckptdoctor.report.check.reports import render

    for extra, file in wanted:
        deliver(render(report, extra), file, form=extra)
    if not streamed:
        deliver(render(report, form, quiet=quiet, color=color), output_file, form=form)
        return
    from ckptdoctor.report.check import text as check_text

    deliver(check_text.summary(report, color=color), None, form=form)


def _report_wanted(text: str) -> tuple[str, str]:
    form, equals, file = text.partition("=")
    if not (equals and file) or form not in _FORMS:
        raise UsageProblem(f"--report {text!r} should be FORM=FILE, FORM one of {', '.join(_FORMS)}")
    return form, file
