"""What tests of object-based checkpoints share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.objects import Node, write_objects

from ckptdoctor.formats.tensorflow import checkpoint as tf_checkpoint
from ckptdoctor.state import TrainingState


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Node], TrainingState]:
    """Writes a checkpoint of some objects and reads it."""
    return lambda root: tf_checkpoint.read(write_objects(tmp_path / "ckpt-1", root))
