"""Files that are written to while they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptdoctor.errors import GraftRefused, UnreadableArtifact
from ckptdoctor.grafting.building.inputs import Inputs


@pytest.mark.parametrize("raised", [None, UnreadableArtifact("it is cut"), GraftRefused("a value has changed")])
def test_one_that_changes(tmp_path: Path, raised: Exception | None) -> None:
    """That is what is told, whatever came of it; where nothing changed, what went wrong is."""
    (tmp_path / "a").write_bytes(b"before")

    def read(inputs: Inputs, content: bytes | None = None) -> None:
        with inputs.held():
            if content is not None:
                (tmp_path / "a").write_bytes(content)
            if raised is not None:
                raise raised

    inputs = Inputs([str(tmp_path / "a")])
    if raised is None:
        read(inputs)
    else:
        with pytest.raises(type(raised), match=str(raised)):
            read(inputs)
    with pytest.raises(GraftRefused, match="a changed while it was read"):
        read(inputs, b"after it")
