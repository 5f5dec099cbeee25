"""What must hold whatever the bytes are: a result or a CkptDoctorError, and a report that can be shown."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import ckptdoctor
from ckptdoctor.errors import CkptDoctorError
from ckptdoctor.examination import Examination, examine
from ckptdoctor.report.inspect import json as json_report
from ckptdoctor.report.inspect import markdown, text


def inspected(path: str | os.PathLike[str], *, everything: bool = False) -> list[Examination]:
    """Reads an artifact as `inspect --stats --tensors` does, and reports it in every format.

    Returns:
        The examinations; none where the path itself was refused with a sentence.

    Raises:
        AssertionError: What is reported could not be shown.
    """
    try:
        found = list(examine(path, everything=everything, stats=True))
    except CkptDoctorError as error:
        require_sentence(str(error))
        return []
    for each in found:
        if each.error is not None:
            require_sentence(str(each.error))
    document = "".join(json_report.render(found, tensors=True, stats=True))
    json.loads(document, parse_constant=_no_constant)
    for shown in (
        text.render(found, tensors=True, stats=True, quiet=False, color=False),
        markdown.render(found, tensors=True, stats=True),
        document,
    ):
        require_harmless(shown)
    return found


def grafted(donor: str | os.PathLike[str], target: str | os.PathLike[str], output: Path) -> None:
    """Grafts, with what does not match left out.

    Raises:
        AssertionError: A refused graft left something, or a finished one cannot be read.
    """
    shutil.rmtree(output.parent, ignore_errors=True)
    output.parent.mkdir()
    try:
        ckptdoctor.graft(donor, target, output, partial=True)
    except CkptDoctorError as error:
        require_sentence(str(error))
        left = os.listdir(output.parent)
        assert not left, f"a graft that failed left {left}"
    else:
        (written,) = inspected(output)
        assert written.error is None, f"what a graft wrote cannot be read: {written.error}"


def require_sentence(message: str) -> None:
    """An error says something."""
    assert message.strip(), "an error without a sentence"


def require_harmless(shown: str) -> None:
    """A report is UTF-8, and has no control characters but line ends."""
    shown.encode()
    odd = sorted({char for char in shown if not char.isprintable() and char != "\n"})
    assert not odd, f"a report has the characters {odd!r}"


def _no_constant(name: str) -> object:
    raise AssertionError(f"JSON has no {name}")
