"""The table of losses against today's Keras 3 and tf_keras, which load what each has saved, as it foretells."""

from __future__ import annotations

import importlib.util
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.frameworks import child, warm_python

import ckptdoctor
from ckptdoctor.cli import cli
from ckptdoctor.diagnosis.families.loading import graft_command
from ckptdoctor.diagnosis.loader_table import Loss, Row, rows
from ckptdoctor.diagnosis.loaders import parse_loader
from ckptdoctor.state import TrainingState

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        importlib.util.find_spec("tf_keras") is None, reason="TensorFlow and tf_keras are not installed"
    ),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the child saves."""
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def records(folder: Path) -> list[dict[str, Any]]:
    """What each framework made of what each has saved."""
    found: list[dict[str, Any]] = child("loaders_child.py", folder)
    assert len(found) == 24
    return found


def _state(path: str) -> TrainingState:
    state = ckptdoctor.inspect(path)[0].state
    assert state is not None
    return state


def _loss(record: dict[str, Any]) -> Loss | None:
    """What the table foretells for a record."""
    found = rows(_state(record["path"]), parse_loader(record["loader"]))
    return next((each for each in found if each.row.call == record["call"]), None)


def _row(record: dict[str, Any]) -> Row | None:
    """The row of the table for a record."""
    loss = _loss(record)
    return loss.row if loss is not None else None


def _complaint(record: dict[str, Any]) -> str:
    """In what a record is at odds with its row; nothing if it is as foretold."""
    row = _row(record)
    if row is None:
        kept = [record.get(part) for part in ("iterations", "slots", "weights")]
        return "" if kept == ["restored"] * 3 else "the table has no row of it"
    if row.signal == "error" or record["error"] is not None:
        fits = row.signal == "error" and record["error"] is not None and row.says in record["error"]
        return "" if fits else f"{row.id} says {row.signal} {row.says!r}"
    wrong = [part for part in ("iterations", "slots", "weights") if getattr(row, part) not in {record[part], "depends"}]
    return f"{row.id} is wrong on {', '.join(wrong)}" if wrong else ""


def test_the_table_foretells_todays_frameworks(records: list[dict[str, Any]]) -> None:
    """Count, slots, weights and errors are as the table says; where it says nothing, everything is restored."""
    odd = [(complaint, record) for record in records if (complaint := _complaint(record))]
    assert not odd
    named = {row.id for record in records if (row := _row(record))}
    assert len(named) == 16
    # Without --loader only what the own version loses is told, and never another generation.
    for record in records:
        assert {each.row.rule for each in rows(_state(record["path"]))} <= {"L002"}


def test_the_graft_that_is_advised_works(
    records: list[dict[str, Any]], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every advised command runs with the loader's own model for MODEL and Adam for CLASS, and moves the count."""
    monkeypatch.chdir(tmp_path)
    done = set()
    for record in records:
        loss = _loss(record)
        command = graft_command(loss, record["path"]) if loss is not None else None
        if loss is None or loss.row.graft is None or command is None or loss.row.id in done:
            continue
        row, asked = loss.row, loss.row.graft
        done.add(row.id)
        target = folder / record["loader"].partition("=")[0]
        ending = asked.into.removeprefix("MODEL")
        into = record["path"] if asked.into == "PATH" else str(target / (f"m{ending}" if ending else "ckpt"))
        output = f"{row.id}{ending}"
        words = shlex.split(command)[1:]
        words[words.index("--into") + 1], words[words.index("--output") + 1] = into, output
        words = ["Adam" if word == "CLASS" else word for word in words]
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 0, (row.id, result.output)
        (optimizer,) = _state(output).optimizers
        assert (optimizer.class_name, optimizer.iterations, len(optimizer.slots)) == ("Adam", 3, 8)
        # What was written has no loss left with this loader, but that load_weights wants a built optimizer.
        left = {each.row.id for each in rows(_state(output), parse_loader(record["loader"]))}
        assert left <= {"weights-keras3", "weights-tf.keras"}, (row.id, left)
    assert len(done) >= 9


@pytest.mark.parametrize(("donor", "target"), [("legacy/ckpt", "keras/ckpt"), ("tf_keras/m.h5", "keras/m.keras")])
def test_a_graft_is_restored(
    records: list[dict[str, Any]], folder: Path, tmp_path: Path, donor: str, target: str
) -> None:
    """What the advice writes is restored by Keras 3 itself."""
    assert records
    output = tmp_path / os.path.basename(target)
    ckptdoctor.graft(folder / donor, folder / target, output)
    assert ckptdoctor.verify(output, python=warm_python()).ok
