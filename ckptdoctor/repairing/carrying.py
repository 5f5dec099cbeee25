"""From a result that is being written to one that is in its place: whole, on the disk, or not there at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ckptdoctor.containers.bytes.files import reason
from ckptdoctor.errors import CkptDoctorError, Refused
from ckptdoctor.grafting.building.flushing import Flushing
from ckptdoctor.grafting.building.inputs import Inputs, files_of
from ckptdoctor.grafting.building.staging import check_output, publish, staging
from ckptdoctor.state import TrainingState


@contextmanager
def put_in_place(output: str, inputs: Inputs, *, overwrite: bool) -> Iterator[str]:
    """A path to write to while the block runs; what is there at its end is given the output's name.

    Args:
        output: The name.
        inputs: What is read, which must stay as it is meanwhile.
        overwrite: Replace what lies there.

    Raises:
        Refused: The output exists, is an input, or cannot be written, or an input changed; nothing was written.
    """
    check_output(output, list(inputs.artifacts), overwrite=overwrite)
    with staging(output) as folder, _told_of(folder, output):
        staged = os.path.join(folder, os.path.basename(output))
        with Flushing(folder) as flushing:
            yield staged
            flushing.finish()
        inputs.require_unchanged()
        publish(staged, output, overwrite=overwrite)


def named(output: str | os.PathLike[str]) -> str:
    """An output without a trailing slash, which only says that it is a directory."""
    return os.fspath(output).rstrip("/") or os.fspath(output)


def bytes_of(path: str, state: TrainingState) -> int:
    """Bytes of all files of an artifact, those among them that only its tensors lie in."""
    held = {getattr(variable.tensor.location, "path", path) for variable in state.variables}
    held |= {getattr(slot.tensor.location, "path", path) for each in state.optimizers for slot in each.slots}
    return sum(os.path.getsize(each) for each in {*files_of(path), *filter(os.path.isfile, held)})


@contextmanager
def _told_of(folder: str, output: str) -> Iterator[None]:
    """Says in one sentence what an error means for the output; what is wrong with an input stays its own error."""
    try:
        yield
    except (OSError, CkptDoctorError) as error:
        if not os.path.exists(folder):
            why = "its directory was removed meanwhile"
        elif isinstance(error, OSError):
            why = f"writing failed ({reason(error)})"
        elif not isinstance(error, Refused) and (error.path or "").startswith(folder):
            why = f"what was written cannot be read back ({error})"
        else:
            raise
        raise Refused(f"{why}; nothing is left behind. Free some space or name another OUT", output) from error
