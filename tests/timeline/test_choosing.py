"""Which checkpoint of a run to resume from: the newest complete one, and why not one that is newer."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from support.bundles import array, write_bundle, write_state
from support.objects import legacy, model, tracked, variables, write_model, write_objects

import ckptdoctor
from ckptdoctor.references import FileRange
from ckptdoctor.timeline.results import Run


def run_of(path: Path, *, deep: bool = False) -> Run:
    """The one run of a directory."""
    (found,) = ckptdoctor.history(path, deep=deep).runs
    return found


def chosen(run: Run) -> str | None:
    """The name of the one to resume from."""
    return run.resume.name if run.resume is not None else None


def passed_over(run: Run) -> list[tuple[str, str, str]]:
    """Those passed over: name, code, message."""
    return [(each.name, *each.objection) for each in run.passed_over]


def save(path: Path, step: int, *, optimizer: bool = True, value: float = 1.0) -> None:
    """What a loop of PyTorch saves."""
    net = torch.nn.Linear(2, 1)
    adam = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(step):
        net(torch.full((1, 2), value)).sum().backward()
        adam.step()
    path.parent.mkdir(exist_ok=True, parents=True)
    torch.save({"model": net.state_dict(), **({"optimizer": adam.state_dict()} if optimizer else {})}, path)


def test_the_newest(tmp_path: Path) -> None:
    """Ten comes after nine, whatever the order of names and times."""
    for steps in (10, 9, 1):
        write_model(tmp_path / f"ckpt-{steps}", steps)
    run = run_of(tmp_path)
    assert [each.name for each in run.checkpoints] == ["ckpt-1", "ckpt-9", "ckpt-10"]
    assert (chosen(run), run.reason, run.passed_over) == ("ckpt-10", "the newest, complete, at iteration 10", ())


def test_equal_counts_go_by_time(tmp_path: Path) -> None:
    """`last.pt` beside the epoch's own file: the one that was written later."""
    for number, name in enumerate(("last.pt", "epoch_1.pt")):
        save(tmp_path / name, 3)
        os.utime(tmp_path / name, (1000 + number, 1000 + number))
    assert chosen(run_of(tmp_path)) == "epoch_1.pt"
    os.utime(tmp_path / "last.pt", (5000, 5000))
    assert chosen(run_of(tmp_path)) == "last.pt"


def test_a_save_that_was_interrupted(tmp_path: Path) -> None:
    """Data without an index, a cut file: passed over, with the reason, though neither tells its count."""
    for steps in (7, 8, 9):
        write_model(tmp_path / f"ckpt-{steps}", steps)
    os.unlink(tmp_path / "ckpt-9.index")
    os.truncate(tmp_path / "ckpt-8.data-00000-of-00001", 10)
    run = run_of(tmp_path)
    assert (chosen(run), run.reason) == ("ckpt-7", "the newest complete one, at iteration 7")
    (nine, _, headless), (eight, _, cut) = passed_over(run)
    assert (nine, headless) == ("ckpt-9", "ckpt-9.index is missing")
    assert eight == "ckpt-8"
    assert "ckpt-8.data-00000-of-00001" in cut


def test_what_is_older_is_not_told(tmp_path: Path) -> None:
    """Nobody asks why an older one was passed over."""
    for steps in (7, 8):
        write_model(tmp_path / f"ckpt-{steps}", steps)
    os.truncate(tmp_path / "ckpt-7.data-00000-of-00001", 10)
    run = run_of(tmp_path)
    assert (chosen(run), run.passed_over) == ("ckpt-8", ())


def test_slots_are_missing(tmp_path: Path) -> None:
    """A partial one is not it."""
    write_model(tmp_path / "ckpt-3", 3)
    net = model()
    write_objects(tmp_path / "ckpt-4", tracked(model=net, optimizer=legacy(variables(net)[:3], iterations=4)))
    write_objects(tmp_path / "ckpt-5", tracked(model=net, optimizer=legacy(variables(net), iterations=5, slots=["m"])))
    run = run_of(tmp_path)
    assert chosen(run) in {"ckpt-3", "ckpt-4"}
    assert "have no full Adam state" in {name: why for name, _, why in passed_over(run)}["ckpt-5"]


def test_weights_only(tmp_path: Path) -> None:
    """Where no checkpoint has an optimizer there is nothing to resume from, and the history is false."""
    for number in (1, 2):
        write_bundle(tmp_path / f"ckpt-{number}", {"w": array([1.0])})
    history = ckptdoctor.history(tmp_path)
    assert not history
    assert history.runs[0].reason == "weights only in 2 checkpoints: training would start with a new optimizer"


def test_the_optimizer_alone(tmp_path: Path) -> None:
    """State without weights is nothing to go on from."""
    net = torch.nn.Linear(2, 1)
    adam = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    adam.step()
    torch.save(adam.state_dict(), tmp_path / "optimizer.pt")
    run = run_of(tmp_path)
    assert chosen(run) is None
    assert passed_over(run) == [("optimizer.pt", "", "the optimizer's state alone: the weights are not here")]


def test_never_stepped(tmp_path: Path) -> None:
    """A first checkpoint before the first step."""
    write_model(tmp_path / "ckpt-0", 0)
    assert run_of(tmp_path).reason == "the optimizer never stepped in 1 checkpoint"


def test_a_rule_objects(tmp_path: Path, museum: Path) -> None:
    """Complete by its optimizer, and its framework would not load it: the rule is named, the older one taken."""
    for number in (7, 14):
        shutil.copytree(museum / "torch2.13/trainer/checkpoint-7", tmp_path / f"checkpoint-{number}")
    (tmp_path / "checkpoint-14" / "scheduler.pt").unlink()
    # The same count: the later one is the newer one.
    for path in (tmp_path / "checkpoint-7").iterdir():
        os.utime(path, (1000, 1000))
    run = run_of(tmp_path)
    assert chosen(run) == "checkpoint-7"
    assert [(name, code) for name, code, _ in passed_over(run)] == [("checkpoint-14", "S013")]
    assert [each.seen.is_complete for each in run.checkpoints] == [True, False]
    assert run.notes[0] == "get_last_checkpoint() names checkpoint-14, not checkpoint-7"


def test_not_finite(tmp_path: Path) -> None:
    """NaN in the weights of the newest: only `deep` sees it, and takes the one before."""
    save(tmp_path / "step_2.pt", 2)
    save(tmp_path / "step_3.pt", 3, value=float("nan"))
    shallow, deep = run_of(tmp_path), run_of(tmp_path, deep=True)
    assert (chosen(shallow), chosen(deep)) == ("step_3.pt", "step_2.pt")
    assert [each.seen.finite for each in shallow.checkpoints] == [None, None]
    assert [each.seen.finite for each in deep.checkpoints] == [True, False]
    assert [(name, code) for name, code, _ in passed_over(deep)] == [("step_3.pt", "V001")]
    assert deep.reason == "the newest complete and finite one, at iteration 2"


def test_bytes_that_changed(tmp_path: Path) -> None:
    """A checksum that does not match: `deep` sees it in the weights too."""
    for steps in (7, 8):
        write_model(tmp_path / f"ckpt-{steps}", steps)
    (found,) = ckptdoctor.inspect(tmp_path / "ckpt-8")
    assert found.state is not None
    where = found.state.variables[0].tensor.location
    assert isinstance(where, FileRange)
    with open(where.path, "r+b") as file:
        file.seek(where.offset)
        byte = file.read(1)
        file.seek(where.offset)
        file.write(bytes([byte[0] ^ 1]))
    assert chosen(run_of(tmp_path)) == "ckpt-8"
    deep = run_of(tmp_path, deep=True)
    assert (chosen(deep), passed_over(deep)[0][:2]) == ("ckpt-7", ("ckpt-8", "I004"))


# ------------------------------------------------------------------------------------------------- what names another


def test_the_state_file_names_another(tmp_path: Path) -> None:
    """TensorFlow's own pointer, to an older one, to one that is gone, and to the same."""
    for steps in (7, 8):
        write_model(tmp_path / f"ckpt-{steps}", steps)
    write_state(tmp_path, "ckpt-7")
    assert run_of(tmp_path).notes == ("the file `checkpoint` names ckpt-7, not ckpt-8",)
    write_state(tmp_path, "/elsewhere/ckpt-9")
    assert run_of(tmp_path).notes == ("the file `checkpoint` names ckpt-9, which is not here, not ckpt-8",)
    write_state(tmp_path, "ckpt-8", "ckpt-7")
    assert run_of(tmp_path).notes == ()


def test_the_state_file_is_garbage(tmp_path: Path) -> None:
    """Someone edited it by hand: the checkpoints are there all the same, and the note says what it is."""
    write_model(tmp_path / "ckpt-7", 7)
    (tmp_path / "checkpoint").write_bytes(b"\xff garbage")
    run = run_of(tmp_path)
    assert chosen(run) == "ckpt-7"
    (note,) = run.notes
    assert note.startswith("what the framework would take cannot be told: checkpoint is no checkpoint state file")


def test_one_artifact_that_is_a_directory(fixtures_dir: Path, museum: Path) -> None:
    """A SavedModel, a checkpoint of Trainer: one line, not one for each of its parts."""
    for path in (fixtures_dir / "savedmodel", museum / "torch2.13/trainer/checkpoint-7", museum / "orbax-jax/adamw"):
        assert [each.name for each in run_of(path).checkpoints] == [path.name]


def test_the_best_is_another(tmp_path: Path, museum: Path) -> None:
    """Trainer's best_model_checkpoint, with an absolute path of the machine that trained."""
    for number, step in ((7, 7), (14, 14)):
        shutil.copytree(museum / "torch2.13/trainer/checkpoint-7", tmp_path / f"checkpoint-{number}")
        state = tmp_path / f"checkpoint-{number}" / "trainer_state.json"
        progress = json.loads(state.read_text())
        log = [{"step": 7, "epoch": 1.0, "eval_loss": 0.25, "eval_f1": 0.5}, {"step": step, "loss": 9.0}]
        more = {"best_model_checkpoint": "/home/anna/run/checkpoint-7", "best_metric": 0.5, "log_history": log}
        state.write_text(json.dumps({**progress, **more}))
        for path in (tmp_path / f"checkpoint-{number}").iterdir():
            os.utime(path, (number, number))
    run = run_of(tmp_path)
    assert chosen(run) == "checkpoint-14"
    assert run.notes == ("best_model_checkpoint is checkpoint-7: the best, not where training stopped",)
    assert [each.metric for each in run.checkpoints] == [("eval_f1", 0.5, "trainer_state.json")] * 2


def test_the_latest_of_deepspeed(tmp_path: Path, museum: Path) -> None:
    """Each tag is a line, and what `latest` names is told where it is not the newest."""
    (source,) = {each.parent for each in (museum / "torch2.13/deepspeed-1").rglob("*_model_states.pt")}
    for tag in ("global_step6", "global_step7"):
        shutil.copytree(source, tmp_path / tag)
    (tmp_path / "latest").write_text("global_step6")
    for number, tag in enumerate(("global_step6", "global_step7")):
        for path in (tmp_path / tag).iterdir():
            os.utime(path, (1000 + number, 1000 + number))
    run = run_of(tmp_path)
    assert [each.name for each in run.checkpoints] == ["global_step6", "global_step7"]
    assert run.notes == ("the file `latest` names global_step6, not global_step7",)


def test_latest_step_of_orbax(tmp_path: Path, museum: Path) -> None:
    """Orbax takes the highest number, in which nothing may be complete."""
    root = tmp_path / "run"
    shutil.copytree(museum / "orbax-jax/manager", root)
    before = run_of(root)
    assert before.resume is not None
    assert before.notes == ()
    (root / "99" / "default.orbax-checkpoint-tmp").mkdir(parents=True)
    (root / "99" / "_CHECKPOINT_METADATA").write_text("{}")
    run = run_of(root)
    assert chosen(run) == chosen(before)
    assert passed_over(run)[0][0] == "99"
    assert f"latest_step() names 99, not {chosen(run)}" in run.notes


# ------------------------------------------------------------------------------------------------------------ several


def test_runs_below(tmp_path: Path) -> None:
    """Each directory that holds checkpoints is a run of its own; one that resumes is enough to be true."""
    write_model(tmp_path / "a" / "ckpt-1", 1)
    write_bundle(tmp_path / "b" / "deep" / "ckpt-1", {"w": array([1.0])})
    history = ckptdoctor.history(tmp_path)
    assert [os.path.relpath(each.path, tmp_path) for each in history.runs] == ["a", "b/deep"]
    assert [chosen(each) for each in history.runs] == ["ckpt-1", None]
    assert history


def test_columns_of_lightning(tmp_path: Path, museum: Path) -> None:
    """Epoch, rate and count from the file itself."""
    shutil.copy(museum / "torch2.13/lightning.ckpt", tmp_path / "epoch=1-val_loss=0.50.ckpt")
    (line,) = run_of(tmp_path).checkpoints
    assert (line.iterations, line.learning_rate is not None) == (7, True)
    assert line.epoch is not None
    assert line.metric == ("val_loss", 0.5, "name")


def test_sizes_and_times(tmp_path: Path) -> None:
    """All files of a checkpoint, and the last of them."""
    write_model(tmp_path / "ckpt-1", 1)
    write_model(tmp_path / "ckpt-10", 10)
    for path in tmp_path.iterdir():
        os.utime(path, (1000, 1000))
    os.utime(tmp_path / "ckpt-1.index", (2000, 2000))
    first, second = run_of(tmp_path).checkpoints
    assert first.size == sum(os.path.getsize(each) for each in tmp_path.glob("ckpt-1.*"))
    assert (first.saved, second.saved) == (2000, 1000)


@pytest.mark.parametrize("jobs", [2, 3])
def test_workers_answer_in_order(tmp_path: Path, jobs: int) -> None:
    """Several workers say what one says, and what kills one of them costs one line."""
    for steps in range(1, 81):
        write_model(tmp_path / f"ckpt-{steps}", steps)
    os.truncate(tmp_path / "ckpt-40.data-00000-of-00001", 10)
    assert ckptdoctor.history(tmp_path, jobs=jobs) == ckptdoctor.history(tmp_path)
