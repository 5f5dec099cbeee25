"""Options that say what artifacts are judged by: those of `check` and of `scan`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ckptdoctor.checking.configuration import Configuration

_Command = TypeVar("_Command", bound=Callable[..., Any])


def policy_options(command: _Command) -> _Command:
    """The options of a policy, and where its configuration comes from."""
    for option in reversed(
        (
            click.option(
                "--require",
                multiple=True,
                type=click.Choice(["iterations", "slots", "hyperparameters", "weights"]),
                help="What has to be there (repeatable).",
            ),
            click.option(
                "--min-iterations", type=click.IntRange(min=0), metavar="N", help="The least count of every optimizer."
            ),
            click.option("--optimizer", metavar="CLASS", help="The class of the optimizer, such as Adam."),
            click.option(
                "--expect",
                type=click.Choice(["resumable", "weights-only"]),
                help="What the artifacts are for.  [default: resumable]",
            ),
            click.option("--loader", metavar="PACKAGE==VERSION", help="What will load them, such as keras==3.15."),
            click.option("--select", multiple=True, metavar="CODE,…", help="Only these rules (codes or prefixes)."),
            click.option("--ignore", multiple=True, metavar="CODE,…", help="Not these rules (codes or prefixes)."),
            click.option(
                "--fail-on",
                type=click.Choice(["error", "warning"]),
                help="The least severity that fails.  [default: error]",
            ),
            click.option(
                "--deep", is_flag=True, default=None, help="Read every byte: checksums, NaN and Inf, impossible values."
            ),
            click.option(
                "--config",
                type=click.Path(exists=True, dir_okay=False),
                help="The configuration, instead of the nearest pyproject.toml or ckptdoctor.toml.",
            ),
            click.option("--no-config", is_flag=True, help="Read no configuration."),
        )
    ):
        command = option(command)
    return command


def configured(given: Mapping[str, Any]) -> Configuration:
    """The policy that these options and the configuration make; declarations of the user's are in force from now on.

    Raises:
        UsageProblem: One of them makes no sense.
    """
    from ckptdoctor.checking.configuration import configure, split_codes
    from ckptdoctor.declarations.chosen import Source, nearest_file, use

    config, no_config = given["config"], given["no_config"]
    settings = {
        "require": list(given["require"]) or None,
        "min-iterations": given["min_iterations"],
        "optimizer": given["optimizer"],
        "expect": given["expect"],
        "loader": given["loader"],
        "select": split_codes(given["select"]) or None,
        "ignore": split_codes(given["ignore"]) or None,
        "fail-on": given["fail_on"],
        "deep": given["deep"],
    }
    use(Source(config) if config is not None else Source() if no_config else nearest_file())
    set_here = {name: value for name, value in settings.items() if value is not None}
    return configure(set_here, config=config, search=not no_config)
