"""Where in an epoch trainers were when they saved, as far as they write it down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ckptdoctor.containers.pickles.reading import Node
from ckptdoctor.formats.torch.contents import Fields, fields_of
from ckptdoctor.state import Oddity

_NEARLY = 1e-6
"""Trainer divides steps by their number an epoch."""


def of_lightning(root: Node) -> Iterator[Oddity]:
    """Lightning's `loops`, from 1.5 on; a checkpoint after the last batch is one between epochs."""
    at = _below(root, "loops", "fit_loop", "epoch_loop.batch_progress")
    current = _below(at, "current")
    done = current.get("ready") if current is not None else None
    if at is not None and at.get("is_last_batch") is False and type(done) is int and done > 0:
        yield Oddity("S021", f"it was saved after batch {done:,} of an epoch, and its loader's place is not here")


def _below(node: Node | Fields | None, *names: str) -> Fields | None:
    found = node if isinstance(node, Mapping) else fields_of(node)
    for name in names:
        found = fields_of(found.get(name)) if found is not None else None
    return found


def of_trainer(progress: Mapping[str, object]) -> Iterator[Oddity]:
    """The `epoch` of transformers' Trainer, a fraction within one."""
    epoch = progress.get("epoch")
    if isinstance(epoch, float) and 0 < epoch < 1 << 53 and abs(epoch - round(epoch)) > _NEARLY:
        yield Oddity("S021", f"it was saved at epoch {epoch:.4g}: Trainer skips the batches that were done")
