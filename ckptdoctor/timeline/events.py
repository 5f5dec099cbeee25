"""TensorBoard's event files beside a run's checkpoints: the figures that these do not hold themselves."""

from __future__ import annotations

import os
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import islice

from ckptdoctor import storage
from ckptdoctor.containers.tables.events import Scalar, scalars
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.logged import Metric
from ckptdoctor.state import Status
from ckptdoctor.timeline.results import Checkpoint

SOURCE = "events"
_FILE = "tfevents"
_FOLDERS_UNSEEN = ("validation", "val", "valid", "eval", "test", "dev")
_FOLDERS = ("logs", "runs", "train", "training", "tensorboard", *_FOLDERS_UNSEEN)
_UNSEEN = re.compile(r"(?:^|[/_.-])(?:val|valid|validation|eval|test|dev)(?:[/_.-]|$)", re.IGNORECASE)
_SCORE = re.compile(r"(?:^|[/_.-])(?:loss|acc|accuracy|score|error|f1|auc)(?:$|[/_.-])", re.IGNORECASE)
_RATE = re.compile(r"(?:^|[/_.-])(?:lr|learning_rate)(?:$|[/_.-])", re.IGNORECASE)
_BY_EPOCH = "epoch_"
"""What Keras' TensorBoard begins a tag with that it writes once an epoch, at the epoch's number from 0 on."""
_MOST_FILES, _MOST_BYTES = 64, 256 << 20
_DEPTH = 3


class Events:
    """The event files of a run.

    Args:
        path: Its directory.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._rows: dict[str, dict[int, float]] | None = None

    def completed(self, checkpoints: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
        """The checkpoints, with metric and rate from the event files where they tell neither themselves."""
        return tuple(self._with_figures(each) for each in checkpoints)

    def _with_figures(self, each: Checkpoint) -> Checkpoint:
        if each.seen.status is Status.UNREADABLE or (each.metric is not None and each.learning_rate is not None):
            return each
        metric, rate = each.metric, each.learning_rate
        if metric is None:
            name = self._best_name(_SCORE)
            value = self._at(name, each)
            metric = Metric(name, value, SOURCE) if value is not None else None
        if rate is None:
            rate = self._at(self._best_name(_RATE), each)
        return each._replace(metric=metric, learning_rate=rate)

    def _best_name(self, wanted: re.Pattern[str]) -> str | None:
        """The tag that tells it; of several, what is measured on data that training does not see, the shortest."""
        found = [tag for tag in self._tags() if wanted.search(tag)]
        return min(found, key=lambda tag: (not _UNSEEN.search(tag), len(tag), tag), default=None)

    def _at(self, tag: str | None, each: Checkpoint) -> float | None:
        """The last figure until the checkpoint was saved."""
        if tag is None:
            return None
        row = self._tags()[tag]
        if _BY_EPOCH in tag:
            return row.get(round(each.epoch) - 1) if each.epoch is not None else None
        if each.iterations is None:
            return None
        steps = sorted(row)
        at = bisect_right(steps, each.iterations)
        return row[steps[at - 1]] if at else None

    def _tags(self) -> dict[str, dict[int, float]]:
        if self._rows is None:
            self._rows = {}
            for tag, step, value in self._scalars():
                self._rows.setdefault(tag, {})[step] = value
        return self._rows

    def _scalars(self) -> Iterator[Scalar]:
        left = _MOST_BYTES
        for file in sorted(islice(_files(self._path), _MOST_FILES)):
            left -= os.path.getsize(file)
            if left < 0:
                return
            folder = os.path.basename(os.path.dirname(file))
            # Keras has the same tags in `train` and `validation`.
            unseen = f"{folder}/" if folder.lower() in _FOLDERS_UNSEEN else ""
            try:
                for each in scalars(file):
                    yield each._replace(tag=f"{unseen}{each.tag}")
            except UnreadableArtifact:
                continue  # the figures of another program's log, without which a line has a gap


def _files(path: str) -> Iterator[str]:
    """Event files in a run's directory, in the one above it, and in folders there that are called as logs are.

    None of a run at a URL: they may be larger than all else that is read.
    """
    if storage.is_remote(path):
        return
    above = os.path.dirname(os.path.abspath(path))
    for base in (path, above):
        for folder, names, files in os.walk(base):
            depth = folder[len(base) :].count(os.sep)
            names[:] = [] if depth >= _DEPTH else sorted(n for n in names if depth or n.lower() in _FOLDERS)
            yield from (os.path.join(folder, name) for name in files if _FILE in name)
