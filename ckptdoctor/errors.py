"""The few errors of ckptdoctor, each with the exit code of its kind.

Library code raises them and never prints; `ckptdoctor.cli` is the only place that catches them for the user.
"""

from __future__ import annotations

import os

EXIT_OK = 0
EXIT_FINDINGS = 1
EXIT_USAGE = 2
EXIT_UNREADABLE = 3
EXIT_REFUSED = 4
EXIT_INTERRUPTED = 130
"""What shells report of a command that Ctrl-C ended; click's own 1 would say that a check has findings."""


class CkptDoctorError(Exception):
    """Root of all errors that ckptdoctor raises on purpose.

    Args:
        message: One sentence: what is wrong, where, and what to do.
        path: The file or directory that it is about, where there is one.
    """

    exit_code = EXIT_UNREADABLE

    def __init__(self, message: str, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.path = None if path is None else os.fspath(path)

    def __str__(self) -> str:
        return self.message


class UsageProblem(CkptDoctorError):
    """The request cannot be carried out as it was put: a path that does not exist, an unknown code."""

    exit_code = EXIT_USAGE


class NoSuchPath(UsageProblem, FileNotFoundError):
    """Nothing is at this path."""


class Unmatchable(UsageProblem):
    """Two artifacts cannot be set side by side as it was asked: no one optimizer is meant, or a name is unknown."""


class UnreadableArtifact(CkptDoctorError):
    """The artifact is truncated, corrupt, hostile, of no known format, or access to it is denied.

    Args:
        message: One sentence that says what was expected and found.
        path: The file at fault.
        place: Where in the file: a byte offset, a key, a member, a data set.
        code: The rule that a report files it under.
    """

    code = "I001"

    def __init__(
        self,
        message: str,
        path: str | os.PathLike[str] | None = None,
        *,
        place: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(f"{place}: {message}" if place else message, path)
        self.place = place
        if code is not None:
            self.code = code


class Unreachable(UnreadableArtifact):
    """No answer can be had, of the network or the disk, or access is denied: what is there is not known."""


class UnknownFormat(UnreadableArtifact):
    """Nothing is damaged: it is of another tool's format, of none that is known, or there is no artifact at all."""


class LimitExceeded(UnreadableArtifact):
    """The file claims more than a reader will allocate or loop over; nothing past the limit was read."""


class NoRecipe(CkptDoctorError):
    """No script is known that restores such an artifact by a call of its framework."""

    exit_code = EXIT_FINDINGS


class NotResumed(CkptDoctorError):
    """A training script would not go on where its checkpoint stopped; it has trained nothing yet.

    Args:
        message: What is lost, what explains it, and what to do, a line each.
        path: The checkpoint.
        lost: What is not as the checkpoint has it, a sentence each.
        codes: The rules that explain it.
    """

    exit_code = EXIT_FINDINGS

    def __init__(
        self,
        message: str,
        path: str | os.PathLike[str] | None = None,
        *,
        lost: tuple[str, ...] = (),
        codes: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, path)
        self.lost = lost
        self.codes = codes


class Refused(CkptDoctorError):
    """Something that would not be written soundly, or has a name that is taken; nothing was written."""

    exit_code = EXIT_REFUSED


class GraftRefused(Refused):
    """A graft that would be incompatible, ambiguous or incomplete; nothing was written."""
