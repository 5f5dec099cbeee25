"""`ckptdoctor verify`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ckptdoctor.cli.options import ANY_PATH, deliver, output_options, reporting, wants_color
from ckptdoctor.errors import EXIT_FINDINGS, EXIT_OK

if TYPE_CHECKING:
    from ckptdoctor.verification import Verification

_TIMEOUT = 600.0


@click.command(short_help="Proof by the real framework: what it restores of an artifact.")
@click.argument("path", metavar="PATH", type=ANY_PATH)
@click.option(
    "--model",
    type=ANY_PATH,
    help="For weights without a model: a .keras, .h5 or JSON file of the same architecture.",
)
@click.option(
    "--model-script",
    metavar="FILE.py:FUNCTION",
    help="For PyTorch, Orbax and flax: your code, which is run: it answers with the model (for PyTorch also with its "
    "optimizer and scheduler), or with the tree to restore into.",
)
@click.option(
    "--python",
    metavar="INTERPRETER",
    help="Ask the framework of this interpreter instead of the running one. It needs no ckptdoctor.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=_TIMEOUT,
    show_default=True,
    help="How long the framework may take.",
)
@output_options("text", "json", "markdown")
@click.pass_context
def verify(
    context: click.Context,
    *,
    path: str,
    model: str | None,
    model_script: str | None,
    python: str | None,
    timeout: float,
    form: str,
    output_file: str | None,
    quiet: bool,
    no_color: bool,
) -> None:
    """Load PATH with the installed TensorFlow, Keras, PyTorch or JAX and say what it restored.

    The framework runs in a child process and loads the artifact by the call that users would use. What it then holds
    (iterations, learning rate, each slot) is compared with what the artifact holds. Where the usual call does not
    restore it, the ones that do are tried and named. A model with Python code in it (Lambda layers) is not loaded,
    and no pickle is loaded but by torch.load(weights_only=True).

    \b
    Exit codes:
      0  all of it was restored
      1  the usual call did not restore what the artifact holds
      2  wrong use, no such path, or no framework
      3  the artifact cannot be read
    """  # noqa: D301 - \b is a backspace: click leaves the paragraph after it unwrapped
    from ckptdoctor.verification import verify as verify_artifact

    code = EXIT_OK
    found: list[Verification] = []
    with reporting(path) as outcome:
        found.append(verify_artifact(path, model=model, script=model_script, python=python, timeout=timeout))
        code = EXIT_OK if found[0].ok else EXIT_FINDINGS
    code = max(code, outcome.exit_code)
    if found or form == "json":
        with reporting() as outcome:
            color = wants_color(no_color) and output_file is None
            deliver(_render(found, form, quiet=quiet, color=color), output_file, form=form)
    context.exit(max(code, outcome.exit_code))


def _render(found: list[Verification], form: str, *, quiet: bool, color: bool) -> str:
    if form == "json":
        from ckptdoctor.report.verify import json as verify_json

        return verify_json.render(found)
    if form == "markdown":
        from ckptdoctor.report.verify import markdown as verify_markdown

        return verify_markdown.render(found, quiet=quiet)
    from ckptdoctor.report.verify import text as verify_text

    return verify_text.render(found, quiet=quiet, color=color)
