"""Figures from TensorBoard's event files, as TensorFlow writes them, for checkpoints that hold none."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.frameworks import needs, run
from support.objects import write_model

import ckptdoctor
from ckptdoctor.containers.tables.events import scalars
from ckptdoctor.logged import Metric

WRITE = """
import sys
import tensorflow as tf
kind, folder = sys.argv[1:]
if kind == "summary":  # TensorFlow 2: a tensor each, as tf.summary.scalar of tensorboard writes it
    with tf.summary.create_file_writer(folder).as_default():
        for step in range(1, 9):
            for tag, value in (
                ("val_loss", tf.constant(1.0 / step)), ("train_loss", tf.constant(5.0)),
                ("learning_rate", tf.constant(0.1 * step)), ("val_loss_told", tf.constant("no number")),
                ("val_loss_of_two", tf.constant([1.0, 2.0])),
            ):
                tf.summary.write(tag, value, step=step)
else:  # TensorFlow 1, and PyTorch's SummaryWriter
    tf.compat.v1.disable_eager_execution()
    writer = tf.compat.v1.summary.FileWriter(folder)
    for step in range(1, 9):
        value = tf.compat.v1.Summary.Value(tag="val_loss", simple_value=1.0 / step)
        writer.add_summary(tf.compat.v1.Summary(value=[value]), step)
    writer.close()
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Event files of both kinds."""
    needs("tensorflow")
    folders = {kind: tmp_path_factory.mktemp(kind) for kind in ("summary", "simple")}
    for kind, folder in folders.items():
        run("-c", WRITE, kind, folder)
    return {kind: next(folder.glob("*tfevents*")) for kind, folder in folders.items()}


@pytest.mark.parametrize("kind", ["summary", "simple"])
def test_scalars(written: dict[str, Path], kind: str) -> None:
    """Tag, step and value of each scalar, and of nothing else."""
    found = [each for each in scalars(str(written[kind])) if each.tag == "val_loss"]
    assert [each.step for each in found] == list(range(1, 9))
    assert [each.value for each in found] == pytest.approx([1.0 / step for step in range(1, 9)])
    tags = {each.tag for each in scalars(str(written[kind]))}
    assert tags == ({"val_loss", "train_loss", "learning_rate"} if kind == "summary" else {"val_loss"})


def test_a_file_that_is_still_written(written: dict[str, Path], tmp_path: Path) -> None:
    """What is whole counts; a record that is cut, or whose checksum is wrong, ends it."""
    data = written["simple"].read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(data[:-3])
    assert [each.step for each in scalars(str(cut))] == list(range(1, 8))
    cut.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    assert [each.step for each in scalars(str(cut))] == list(range(1, 8))
    cut.write_bytes(b"no event file at all")
    assert list(scalars(str(cut))) == []


@pytest.mark.parametrize("place", [".", "logs/validation", "../logs"])
def test_beside_a_run(written: dict[str, Path], tmp_path: Path, place: str) -> None:
    """In the run's directory, in a folder of logs there, or in one beside it: the last figure before each save."""
    run = tmp_path / "runs" / "a"
    for steps in (2, 4, 20):
        write_model(run / f"ckpt-{steps}", steps)
    folder = run / place
    folder.mkdir(parents=True, exist_ok=True)
    (folder / written["summary"].name).write_bytes(written["summary"].read_bytes())
    (found,) = ckptdoctor.history(run).runs
    metrics = [each.metric for each in found.checkpoints]
    assert all(isinstance(each, Metric) for each in metrics)
    assert [(each.name or "").rpartition("/")[2] for each in metrics if each] == ["val_loss"] * 3
    assert [each.value for each in metrics if each] == pytest.approx([0.5, 0.25, 0.125])
    assert {each.source for each in metrics if each} == {"events"}
    assert [each.learning_rate for each in found.checkpoints] == [pytest.approx(0.001)] * 3  # the checkpoint's own


def test_none_before_the_first(written: dict[str, Path], tmp_path: Path) -> None:
    """A checkpoint that was saved before the first figure has none."""
    write_model(tmp_path / "ckpt-0", 0)
    write_model(tmp_path / "ckpt-1", 1)
    (tmp_path / written["simple"].name).write_bytes(written["simple"].read_bytes())
    first, second = ckptdoctor.history(tmp_path).runs[0].checkpoints
    assert first.metric is None
    assert second.metric == ("val_loss", 1.0, "events")
