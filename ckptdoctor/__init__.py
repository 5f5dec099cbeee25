"""Inspect and repair training checkpoints.

    >>> import ckptdoctor
    >>> for artifact in ckptdoctor.inspect("run/ckpt-7"):
    ...     print(artifact.verdict)

Nothing here imports TensorFlow or Keras.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal

from ckptdoctor import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

    from ckptdoctor.checking.configuration import CheckSettings
    from ckptdoctor.checking.results import CheckReport
    from ckptdoctor.comparison.options import DiffOptions
    from ckptdoctor.comparison.results import Comparison
    from ckptdoctor.converting.run import Conversion
    from ckptdoctor.examination import Examination
    from ckptdoctor.grafting.building.receipt import Receipt
    from ckptdoctor.grafting.options import GraftOptions, Options
    from ckptdoctor.grafting.plan import Plan
    from ckptdoctor.repairing.run import Repair, RepairSettings
    from ckptdoctor.repairing.strip import Release
    from ckptdoctor.scanning.run import Scan
    from ckptdoctor.timeline.results import History
    from ckptdoctor.verification import Verification

__version__ = "1.0.0rc1"
__all__ = [
    "__version__", "check", "convert", "declare", "diff", "errors", "graft", "history", "inspect", "plan_graft",
    "recipe", "repair", "scan", "strip", "verify",
]  # fmt: skip


def declare(path: str | os.PathLike[str] | None) -> None:
    """Reads the declarations of optimizers and layers in a policy file, for every call from now on.

    Args:
        path: A `ckptdoctor.toml` or pyproject.toml; None: no file's any more. Those of packages are read without it.

    Raises:
        ckptdoctor.errors.UsageProblem: The file cannot be read, or a declaration is not what it should be.
    """
    from ckptdoctor.checking.configuration import configure
    from ckptdoctor.declarations.chosen import Source, use

    if path is not None:
        configure({}, config=os.fspath(path))
    use(Source(None if path is None else os.fspath(path)))


def inspect(
    path: str | os.PathLike[str],
    *,
    all: bool = False,  # noqa: A002 - as the command's option
    stats: bool = False,
    model: str | os.PathLike[str] | None = None,
) -> tuple[Examination, ...]:
    """Says what an artifact holds: model variables, optimizers with iterations and slots, and whether training resumes.

    Args:
        path: A file, a SavedModel or `.keras` directory, a checkpoint prefix or any of its files, or a directory with
            a `checkpoint` state file (then its latest).
        all: Of a directory, every artifact that its state file lists or that lies there or in directories below it.
        stats: Read all tensor data too and fill `Examination.statistics`.
        model: The weights of an optimizer that PyTorch saved alone: any artifact that has them.

    Returns:
        One `Examination` an artifact. One that cannot be read has `status` unreadable and an `error`.

    Raises:
        ckptdoctor.errors.NoSuchPath: Nothing is at this path; a FileNotFoundError, too.
    """
    from ckptdoctor.examination import examine

    return tuple(examine(path, everything=all, stats=stats, model=model))


def check(
    *paths: str | os.PathLike[str],
    all: bool = False,  # noqa: A002 - as the command's option
    jobs: int = 1,
    **settings: Unpack[CheckSettings],
) -> CheckReport:
    """Judges artifacts by the rules and a policy, as `ckptdoctor check` does. No configuration file is read.

    Args:
        paths: What `inspect` takes; of a run directory its latest checkpoint is judged, and the directory as a whole.
        all: Of a directory, every artifact that lies there or in directories below it.
        jobs: So many workers read.
        **settings: As in a configuration file; see `ckptdoctor.checking.configuration.CheckSettings`.

    Returns:
        A report, true if all passed: `report.passed`, and for each artifact its findings. What cannot be read is a
        result that failed.

    Raises:
        ckptdoctor.errors.UsageProblem: A setting makes no sense.
    """
    from ckptdoctor.checking.configuration import configure
    from ckptdoctor.checking.results import CheckReport
    from ckptdoctor.checking.run import check_paths

    given = {name.replace("_", "-"): value for name, value in settings.items() if value is not None}
    policy = configure(given, search=False).policy
    named = [os.fspath(path) for path in paths]
    return CheckReport(tuple(check_paths(named, policy, everything=all, jobs=jobs)), policy)


def scan(
    *prefixes: str | os.PathLike[str],
    output: str | os.PathLike[str],
    engine: Literal["processes", "dask", "ray"] = "processes",
    address: str | None = None,
    jobs: int | None = None,
    resume: bool = False,
    **settings: Unpack[CheckSettings],
) -> Scan:
    """Judges every artifact below some prefixes, a row each, as `ckptdoctor scan` does. No configuration file is read.

    Args:
        prefixes: Files, directories, URLs.
        output: The directory of the parts of the table, one a batch.
        engine: What the workers are.
        address: Of a cluster of Dask or Ray that runs already.
        jobs: So many workers; None: by the machine.
        resume: Go on with the parts that are there.
        **settings: As in a configuration file; see `ckptdoctor.checking.configuration.CheckSettings`.

    Returns:
        What all rows come to: `scan.summary`.

    Raises:
        ckptdoctor.errors.UsageProblem: Nothing is at a prefix, or `output` holds parts and `resume` is not said.
    """
    from ckptdoctor.checking.configuration import configure
    from ckptdoctor.scanning.run import scan as run

    given = {name.replace("_", "-"): value for name, value in settings.items() if value is not None}
    policy = configure(given, search=False).policy
    return run(prefixes, output, policy, engine=engine, address=address, jobs=jobs, resume=resume)


def history(path: str | os.PathLike[str], *, deep: bool = False, jobs: int = 1) -> History:
    """The checkpoints of the runs at a directory and below it, and which one of each to resume from.

    Args:
        path: The directory of a run, or one with runs below it.
        deep: Read every value too: is it finite, do the checksums match?
        jobs: So many workers read.

    Returns:
        The runs, each with its `checkpoints` and the one to `resume` from; false if there is none to resume from.

    Raises:
        ckptdoctor.errors.UsageProblem: Nothing is there, or no directory.
        ckptdoctor.errors.UnreadableArtifact: It cannot be listed, or holds no checkpoint.
    """
    from ckptdoctor.timeline import run

    return run.history(os.fspath(path), deep=deep, jobs=jobs)


def diff(a: str | os.PathLike[str], b: str | os.PathLike[str], **options: Unpack[DiffOptions]) -> Comparison:
    """Says whether two artifacts hold the same optimizer state, across formats and generations.

    Args:
        a: An artifact: what `inspect` takes.
        b: Another.
        **options: As the options of the command; see `ckptdoctor.comparison.options.DiffOptions`.

    Returns:
        The comparison, item by item and slot by slot: `agrees` if no difference was found and nothing is undecided,
        `equal` if the values were compared too. Without `values=True` the data of slots is not read.

    Raises:
        ckptdoctor.errors.UnreadableArtifact: An artifact cannot be read.
        ckptdoctor.errors.Unmatchable: It has several optimizers and none is named, or the mapping names a variable
            that is not there.
        ckptdoctor.errors.UsageProblem: A path does not exist, or an option is not known.
    """
    from ckptdoctor.comparison import run
    from ckptdoctor.comparison.options import make_options

    return run.diff(a, b, make_options(options))


def plan_graft(
    donor: str | os.PathLike[str] | None,
    target: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    **options: Unpack[GraftOptions],
) -> Plan:
    """Plans a graft without writing anything: what will go where, how it was matched, what is translated.

    Arguments and errors are those of `graft`, an output that exists among them.
    """
    from ckptdoctor.grafting import run

    return run.plan_graft(donor, target, output, _options(options), overwrite=overwrite)


def graft(
    donor: str | os.PathLike[str] | None,
    target: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    sha256: bool = False,
    **options: Unpack[GraftOptions],
) -> Receipt:
    """Writes `output`: the target's model with the donor's optimizer state, in the target's format.

    Args:
        donor: Where the optimizer state comes from; None with `iterations` to set the count only.
        target: The artifact that is completed; it is not changed.
        output: What is written.
        overwrite: Replace what lies under the output's name.
        sha256: Digest every file of inputs and output for the receipt, those over 64 MiB too.
        **options: As the options of the command; see `ckptdoctor.grafting.options.GraftOptions`.

    Raises:
        ckptdoctor.errors.GraftRefused: It would be incompatible, ambiguous or incomplete; nothing was written.
        ckptdoctor.errors.UnreadableArtifact: An input cannot be read.
        ckptdoctor.errors.UsageProblem: A path does not exist, or an option is not known.
    """
    from ckptdoctor.grafting import run

    return run.graft(donor, target, output, _options(options), overwrite=overwrite, sha256=sha256)


def _options(given: GraftOptions) -> Options:
    from ckptdoctor.grafting.options import make_options

    return make_options(given)


def recipe(path: str | os.PathLike[str]) -> str:
    """The Python script that restores an artifact by its own framework, and proves it.

    Args:
        path: What `inspect` takes; of a directory its latest artifact.

    Raises:
        ckptdoctor.errors.NoRecipe: No script is known for it.
        ckptdoctor.errors.UnreadableArtifact: It cannot be read.
        ckptdoctor.errors.NoSuchPath: Nothing is at this path.
    """
    from ckptdoctor.recipes import run

    return run.render(run.recipe(os.fspath(path)))


def convert(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str],
    to: str | None = None,
    *,
    overwrite: bool = False,
    max_shard: int | None = None,
    like: str | os.PathLike[str] | None = None,
) -> Conversion:
    """Writes an artifact in another format or layout.

    Args:
        path: The artifact; it is not changed.
        output: What is written.
        to: Its format (`torch-dcp`, `tf-checkpoint`, `safetensors`, …); None if the ending of its name tells.
        overwrite: Replace what lies there.
        max_shard: Bytes of a shard of safetensors in a directory.
        like: A `.keras` archive of the same model, for a TensorFlow checkpoint or `.weights.h5`, which have no
            configuration.

    Raises:
        ckptdoctor.errors.GraftRefused: There is no such conversion, or something has no place; nothing was written.
        ckptdoctor.errors.UnreadableArtifact: The artifact cannot be read.
        ckptdoctor.errors.NoSuchPath: Nothing is at this path.
        ckptdoctor.errors.UsageProblem: There is no such format.
    """
    from ckptdoctor.converting.run import convert as run
    from ckptdoctor.converting.run import writable

    if to is not None and to not in writable():
        raise errors.UsageProblem(f"{to!r} is no format that is written: there are {', '.join(writable())}")
    return run(path, output, to, overwrite=overwrite, max_shard=max_shard, like=like)


def repair(
    path: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    fixes: Sequence[str] = (),
    in_place: bool = False,
    overwrite: bool = False,
    **settings: Unpack[RepairSettings],
) -> Repair:
    """Mends an artifact, in the same format: what was lost on the way, what its program drops or stumbles over.

    Args:
        path: What `inspect` takes.
        output: What is written.
        fixes: Names of what is to be mended (`ckptdoctor repair --list`); none: all that is safe.
        in_place: Mend the artifact itself, in one step; the original is kept as `PATH.bak`.
        overwrite: Replace what lies under the output's name.
        **settings: `iterations`, `learning_rate`, `loader`, as the options of the command.

    Raises:
        ckptdoctor.errors.Refused: There is nothing to mend, or a name is taken; nothing was written.
        ckptdoctor.errors.UnreadableArtifact: It cannot be read.
        ckptdoctor.errors.UsageProblem: There is no such fix, or neither an output nor `in_place` is given.
    """
    from ckptdoctor.repairing.run import repair as mend

    if (output is not None) == in_place:
        raise errors.UsageProblem("name an output, or say in_place=True")
    given = {name: value for name, value in settings.items() if value is not None}
    return mend(path, output, fixes=fixes, settings=given, overwrite=overwrite)


def strip(path: str | os.PathLike[str], output: str | os.PathLike[str], *, overwrite: bool = False) -> Release:
    """Writes an artifact without its optimizer state, in the same format, for release.

    Args:
        path: What `inspect` takes; it is not changed.
        output: What is written.
        overwrite: Replace what lies under the output's name.

    Returns:
        What is not in the result any more, and how it is loaded.

    Raises:
        ckptdoctor.errors.Refused: It holds none, or could not be loaded without; nothing was written.
        ckptdoctor.errors.UnreadableArtifact: It cannot be read.
        ckptdoctor.errors.NoSuchPath: Nothing is at this path.
    """
    from ckptdoctor.repairing.strip import strip as write

    return write(path, output, overwrite=overwrite)


def verify(
    path: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    python: str | None = None,
    timeout: float = 600.0,
) -> Verification:
    """Loads an artifact with the installed framework, in a child process, and says what it restored.

    Args:
        path: A file, a SavedModel directory, a checkpoint prefix, or a directory (then its latest artifact).
        model: For weights without a model: a `.keras`, `.h5` or JSON file of the same architecture.
        python: The interpreter whose framework is asked; None for the running one.
        timeout: Seconds that the framework may take.

    Raises:
        ckptdoctor.errors.NoSuchPath: Nothing is at this path.
        ckptdoctor.errors.UsageProblem: The framework is not installed.
        ckptdoctor.errors.UnreadableArtifact: The artifact cannot be read.
    """
    from ckptdoctor.verification import verify as verify_artifact

    return verify_artifact(path, model=model, python=python, timeout=timeout)
