"""Targets for what writes: of any bytes `repair`, `strip` and `convert` leave nothing, or what can be read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fuzz.invariant import inspected, require_sentence

import ckptdoctor
from ckptdoctor.errors import CkptDoctorError
from ckptdoctor.repairing.fixes import FIXES
from ckptdoctor.state import Status
from ckptdoctor.storage.addresses import masked, parse, without_query

Run = Callable[[bytes], object]
SETTINGS: dict[str, dict[str, Any]] = {"count": {"iterations": 7}, "learning-rate": {"learning_rate": 0.5}}
"""What a fix needs."""
OUTPUTS = {
    ".pt": ((None, "out.pt"), ("torch-dcp", "out"), ("safetensors", "out.safetensors")),
    ".safetensors": (("torch-checkpoint", "out.pt"), ("safetensors", "out.safetensors")),
    ".keras": (("tf-checkpoint", "out"), (None, "out.weights.h5")),
    "": (),
}
"""Ending → what is converted into: the format, and the output's name."""


def every_writer(path: Path, inside: str, folder: Path) -> None:
    """Has everything done to an artifact that writes another one.

    Args:
        path: What commands are given.
        inside: The ending that outputs have.
        folder: Where outputs go.

    Raises:
        AssertionError: A refusal left something, or a result cannot be read.
    """
    whole = folder / f"out{inside}"
    for fix in FIXES:
        if not fix.beside:
            mend = partial(ckptdoctor.repair, path, whole, fixes=[fix.name], **SETTINGS.get(fix.name, {}))
            _judged(whole, mend, fix.name)
    _judged(whole, partial(ckptdoctor.repair, path, whole), "repair")
    stripped = _judged(whole, partial(ckptdoctor.strip, path, whole), "strip")
    if stripped is not None:
        assert all(each.status is not Status.COMPLETE for each in stripped), "the optimizer is still there"
    for to, name in OUTPUTS[inside]:
        _judged(folder / name, partial(ckptdoctor.convert, path, folder / name, to), f"convert to {to or name}")


def _judged(output: Path, write: Callable[[], object], what: str) -> list[Any] | None:
    shutil.rmtree(output.parent, ignore_errors=True)
    output.parent.mkdir()
    try:
        write()
    except CkptDoctorError as error:
        require_sentence(str(error))
        left = os.listdir(output.parent)
        assert not left, f"{what} was refused and left {left}"
        return None
    found = inspected(output)
    assert found, f"what {what} wrote is not there"
    for each in found:
        assert each.error is None, f"what {what} wrote cannot be read: {each.error}"
    return list(found)


def writing(make: Callable[[Path], Callable[[bytes], object]], name: str, inside: str) -> Callable[[Path], Run]:
    """A target from one that makes an artifact of bytes.

    Args:
        make: Given a folder, what writes the artifact there.
        name: The artifact's name.
        inside: The ending that outputs have.
    """

    def build(folder: Path) -> Run:
        written = make(folder)

        def run(data: bytes) -> None:
            written(data)
            every_writer(folder / name, inside, folder / "out")

        return run

    return build


def address(_: Path) -> Run:
    """A URL, as a user types it or a file names it."""

    def run(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        masked(text)
        without_query(text)
        try:
            found = parse(text)
        except CkptDoctorError as error:
            require_sentence(str(error))
        else:
            assert found.root

    return run


def addresses(_: Path) -> list[bytes]:
    """One of each kind."""
    return [
        b"s3://bucket/run/model.keras", b"gs://bucket/a%20b", b"az://container@account/x", b"hf://org/name@main/a.pt",
        b"https://user:secret@host:8080/a/b.pt?X-Amz-Signature=1#f", b"https://[::1]/a", b"file:///tmp/a", b"memory://a",
    ]  # fmt: skip
