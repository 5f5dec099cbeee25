"""Names that a result can be loaded under: Keras chooses its reader by the ending."""

from __future__ import annotations

import os

from ckptdoctor.diagnosis.mending import SUFFIXES
from ckptdoctor.diagnosis.names import SHARDED, ending_for
from ckptdoctor.errors import GraftRefused
from ckptdoctor.state import Format


def require_loadable_name(output: str, target: str, kind: Format) -> None:
    """Raises GraftRefused for a name whose ending sends the loader to another reader, with one that works.

    Args:
        output: The path to write.
        target: What is completed; a directory loads under any name.
        kind: Its format, and so the result's.
    """
    if kind is Format.KERAS_ARCHIVE and os.path.isdir(target):
        return
    ending = ending_for(output, kind)
    if kind is Format.KERAS_WEIGHTS and _is_sharded(target):
        ending = None if output.endswith(SHARDED) else SHARDED
    elif kind is Format.KERAS_WEIGHTS and output.endswith(SHARDED):
        ending = ".weights.h5"
    if ending is None:
        return
    name = os.path.basename(output)
    stem = next((name[: -len(each)] for each in SUFFIXES if name.lower().endswith(each)), name) or name
    raise GraftRefused(
        f"the result could not be loaded under this name, as loaders go by its ending: name it {stem}{ending}", output
    )


def _is_sharded(target: str) -> bool:
    with open(target, "rb") as stream:
        return stream.read(1) == b"{"
