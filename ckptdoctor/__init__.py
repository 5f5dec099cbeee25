"""Inspect and repair training checkpoints.

    >>> import ckptdoctor
    >>> for artifact in ckptdoctor.inspect("run/ckpt-7"):
    ...     print(artifact.verdict)

Nothing here imports TensorFlow or Keras.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckptdoctor.examination import Examination
    from ckptdoctor.verify import Verification

__version__ = "0.1.0"
__all__ = ["__version__", "inspect", "verify"]


def inspect(path: str | os.PathLike[str], *, everything: bool = False, stats: bool = False) -> tuple[Examination, ...]:
    """Says what an artifact holds: model variables, optimizers with iterations and slots, and whether training resumes.

    Args:
        path: A file, a SavedModel or `.keras` directory, a checkpoint prefix or any of its files, or a directory with
            a `checkpoint` state file (then its latest).
        everything: Of a directory, every artifact that its state file lists or that lies there.
        stats: Read all tensor data too and fill `Examination.statistics`.

    Returns:
        One `Examination` an artifact. One that cannot be read has `status` unreadable and an `error`.

    Raises:
        ckptdoctor.errors.UsageProblem: Nothing is at this path.
    """
    from ckptdoctor.examination import examine

    return tuple(examine(path, everything=everything, stats=stats))


def verify(
    path: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    python: str | None = None,
    timeout: float = 600.0,
) -> Verification:
    """Loads an artifact with the installed TensorFlow or Keras, in a child process, and says what it restored.

    Args:
        path: A file, a SavedModel directory, a checkpoint prefix, or a directory (then its latest artifact).
        model: For weights without a model: a `.keras`, `.h5` or JSON file of the same architecture.
        python: The interpreter whose framework is asked; None for the running one.
        timeout: Seconds that the framework may take.

    Raises:
        ckptdoctor.errors.UsageProblem: Nothing is at this path, or the framework is not installed.
        ckptdoctor.errors.UnreadableArtifact: The artifact cannot be read.
    """
    from ckptdoctor.verify import verify as verify_artifact

    return verify_artifact(path, model=model, python=python, timeout=timeout)
