"""Names that a result can be loaded under: Keras chooses its reader by the ending."""

from __future__ import annotations

import os

from ckptdoctor.diagnosis.mending import SUFFIXES
from ckptdoctor.diagnosis.names import ending_for
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.registry import ending_as, record
from ckptdoctor.state import Format


def require_loadable_name(output: str, target: str, kind: Format) -> None:
    """Raises GraftRefused for a name whose ending sends the loader to another reader, with one that works.

    Args:
        output: The path to write.
        target: What is completed; a directory loads under any name.
        kind: Its format, and so the result's.
    """
    wanted = ending_as(kind, target)
    if wanted is not None:
        ending = None if output.endswith(wanted) else wanted
    else:
        ending = None if record(kind).ending_as else ending_for(output, kind)
    if ending is None:
        return
    name = os.path.basename(output)
    stem = next((name[: -len(each)] for each in SUFFIXES if name.lower().endswith(each)), name) or name
    raise GraftRefused(
        f"the result could not be loaded under this name, as loaders go by its ending: name it {stem}{ending}", output
    )
