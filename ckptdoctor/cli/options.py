"""Options that commands share, and how their results leave: to stdout, or whole to a file."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any, TypeVar

import click

from ckptdoctor import __version__
from ckptdoctor.errors import EXIT_OK, CkptDoctorError, UnknownFormat, UsageProblem
from ckptdoctor.report.shared.escape import printable, without_commands
from ckptdoctor.storage import STAGED, tellable

ANY_PATH = click.Path(readable=False)
"""A path that is judged by reading it: click's own check would end the command, and not know of the other paths."""
_PIECE = 1 << 20
_Command = TypeVar("_Command", bound=Callable[..., Any])


def output_options(
    *formats: str, quiet: str = "Only the verdict of each artifact, no progress and no messages."
) -> Callable[[_Command], _Command]:
    """`--format`, `--output-file`, `--quiet` (with what it leaves), `--no-color`."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(
            (
                click.option(
                    "--format",
                    "form",
                    type=click.Choice(formats),
                    default=formats[0],
                    show_default=True,
                    help="The output format.",
                ),
                click.option(
                    "--output-file",
                    "-o",
                    type=click.Path(dir_okay=False),
                    help="Write the result here instead of to stdout.",
                ),
                click.option(
                    "--quiet",
                    "-q",
                    is_flag=True,
                    help=quiet,
                ),
                click.option("--no-color", is_flag=True, help="No colours (also: NO_COLOR)."),
                click.version_option(__version__, "--version", prog_name="ckptdoctor"),
            )
        ):
            command = option(command)
        return command

    return decorate


def complain(error: CkptDoctorError, path: str | None = None) -> None:
    """One line on stderr: which path, and what is wrong with it."""
    where = path or error.path
    prefix = f"{printable(where)}: " if where else ""
    sentence = str(error)
    if where:
        # A reader names the file at fault; where that is the path itself, once is enough.
        sentence = sentence.removeprefix(f"{where}: ").removeprefix(f"{os.path.basename(where.rstrip('/'))}: ")
    click.echo(without_commands(f"ckptdoctor: {prefix}{printable(sentence)}"), err=True)


class Outcome:
    """How a step of a command went: 0, or the exit code of the error that ended it, and the error."""

    exit_code = EXIT_OK
    error: CkptDoctorError | None = None


@contextmanager
def reporting(path: str | None = None) -> Iterator[Outcome]:
    """The error boundary: an error ends the step, not the command, and is told in one line."""
    outcome = Outcome()
    try:
        yield outcome
    except CkptDoctorError as error:
        outcome.exit_code, outcome.error = error.exit_code, error
        complain(error, path)


@contextmanager
def progress_bar(path: str, *, wanted: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A bar on stderr for what takes over a second; only on a terminal.

    Yields:
        What is to be told how many bytes of how many are done, a bar of unknown length until then; None where no bar
        is shown.
    """
    if not wanted or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console, RenderableType
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    started = monotonic()

    class Late(Progress):
        def get_renderables(self) -> Iterable[RenderableType]:
            return super().get_renderables() if monotonic() - started > 1 else ()

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Late(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(printable(path)[-40:], total=None)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield tell


_STDIN = "-"


def listed_paths(paths: Iterable[str]) -> tuple[str, ...]:
    """The paths; `-` stands for those on standard input, one a line.

    Raises:
        UsageProblem: Standard input cannot be read, or there is none.
    """
    found: list[str] = []
    for path in paths:
        if path != _STDIN:
            found.append(path)
            continue
        try:
            lines = sys.stdin.buffer.read().split(b"\n")
        except (OSError, ValueError, AttributeError) as error:  # closed
            raise UsageProblem("the paths cannot be read from standard input") from error
        found += [tellable(os.fsdecode(line.removesuffix(b"\r"))) for line in lines if line.strip()]
    if not found:
        raise UsageProblem("no path is given: name the artifacts that are meant")
    return tuple(found)


_FOR_PEOPLE = ("text", "markdown")
"""Forms whose lines may begin with what stands in a file; the others quote it, or are commands on purpose."""


def deliver(text: str | Iterable[str], output_file: str | None, *, form: str) -> None:
    """Writes a result to stdout, to a device or FIFO, or to a file that appears whole or not at all.

    Args:
        text: The result, whole or in pieces.
        output_file: Where it goes; None or `-` is stdout.
        form: What it is: text for people must not become a command of the CI system that shows it.

    Raises:
        UsageProblem: The result cannot be written, or the file is an artifact, which no report replaces.
    """
    if isinstance(text, str):
        text = (without_commands(text) if form in _FOR_PEOPLE else text,)
    if output_file is None or output_file == "-":
        _to_stdout(text)
        return
    import tempfile

    place = os.path.realpath(output_file)  # a link stays one
    if os.path.isfile(place) and _is_artifact(place):
        raise UsageProblem("the output file is an artifact, which no report replaces: name another", output_file)
    temporary = None
    try:
        if os.path.exists(output_file) and not os.path.isfile(output_file):
            # /dev/null, /dev/stderr, a pipe: written to, never replaced by a file.
            with open(output_file, "w", encoding="utf-8", errors="backslashreplace") as stream:
                stream.writelines(text)
            return
        with tempfile.NamedTemporaryFile(
            "w",
            encoding="utf-8",
            errors="backslashreplace",
            dir=os.path.dirname(place),
            prefix=STAGED,
            delete=False,
        ) as file:
            temporary = file.name
            file.writelines(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, place)
    except OSError as error:
        raise UsageProblem(f"the output file cannot be written: {error.strerror}", output_file) from error
    finally:  # the result is made while it is written: whatever ended that leaves nothing behind
        if temporary is not None:
            with suppress(FileNotFoundError):
                os.unlink(temporary)


def _to_stdout(text: Iterable[str]) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # what a terminal cannot show is no reason to fail
    try:
        for part in text:
            for start in range(0, len(part), _PIECE):  # a document of megabytes need not be there as bytes as well
                sys.stdout.write(part[start : start + _PIECE])
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has seen enough: click ends the command
        raise
    except OSError as error:
        raise UsageProblem(unwritten(error)) from error


def unwritten(error: OSError) -> str:
    """That stdout took no more, and why."""
    return f"the result cannot be written: {(error.strerror or str(error)).lower()}"


def _is_artifact(path: str) -> bool:
    from ckptdoctor.formats.locate import locate

    try:
        return bool(locate(path))
    except CkptDoctorError as error:
        return not isinstance(error, UnknownFormat)


def wants_color(no_color: bool) -> bool:  # noqa: FBT001 - a flag, as click hands it over
    """Whether colours are wanted: not with --no-color, not with NO_COLOR set to anything."""
    return not no_color and not os.environ.get("NO_COLOR")


def read_mapping(maps: tuple[str, ...], map_file: str | None) -> dict[str, str]:
    """`OLD=NEW` pairs, from the command line and from a file; lines that begin with `#` are comments.

    Raises:
        UsageProblem: A line is no pair.
    """
    lines = list(maps)
    if map_file is not None:
        try:
            with open(map_file, encoding="utf-8-sig") as file:
                lines += [line for line in file if line.strip() and not line.lstrip().startswith("#")]
        except UnicodeDecodeError as error:
            raise UsageProblem("the map file is not text in UTF-8", map_file) from error
        except OSError as error:
            raise UsageProblem(
                f"the map file cannot be read: {(error.strerror or str(error)).lower()}", map_file
            ) from error
    found: dict[str, str] = {}
    for line in lines:
        old, equals, new = (part.strip() for part in line.partition("="))
        if not (equals and old and new):
            raise UsageProblem(f"--map {line.strip()!r} should be OLD=NEW")
        if found.setdefault(old, new) != new:
            raise UsageProblem(f"--map gives {old} to two: {found[old]}, {new}")
    return found


def read_settings(pairs: tuple[str, ...]) -> dict[str, object]:
    """`NAME=VALUE` pairs of hyperparameters: numbers, `true`, `false`, `null`; everything else is text.

    Raises:
        UsageProblem: One is no pair, or a name comes twice with two values.
    """
    found: dict[str, object] = {}
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not (equals and name and text):
            raise UsageProblem(f"--set {pair.strip()!r} should be NAME=VALUE")
        value = _value(text)
        if found.setdefault(name, value) != value:
            raise UsageProblem(f"--set gives {name} two values: {found[name]}, {value}")
    return found


def _value(text: str) -> object:
    words: dict[str, object] = {"true": True, "false": False, "null": None, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
