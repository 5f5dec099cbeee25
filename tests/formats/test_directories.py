"""What a directory means: runs that were moved, runs without a state file, rows of files, callbacks' directories."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.bundles import array, write_bundle, write_state
from support.objects import write_model

import ckptdoctor
from ckptdoctor.errors import NoSuchPath, UsageProblem
from ckptdoctor.formats.locate import locate

W = {"w": array(1.0)}


def only_path(path: Path) -> str:
    """What is read for a path."""
    (target,) = locate(str(path))
    return target.resolved


def codes(path: Path) -> list[str]:
    """What the one artifact of a path is found to have, without notes that most artifacts have."""
    (found,) = ckptdoctor.inspect(path)
    return [each.code for each in found.findings if each.code not in {"P002", "S010"}]


# ------------------------------------------------------------------------------------------------------- state files


@pytest.mark.parametrize("way", ["inspect", "check", "check --all"])
@pytest.mark.parametrize("latest", ["/old/place/ckpt-7", None])
def test_runs_that_tensorflow_does_not_find(tmp_path: Path, way: str, latest: str | None) -> None:
    """P001 where `latest_checkpoint` answers None: an absolute path of a moved run, or no state file at all."""
    for number in (6, 7):
        write_model(tmp_path / f"ckpt-{number}", iterations=number)
    if latest:
        write_state(tmp_path, latest)
    if way == "inspect":
        (found,) = ckptdoctor.inspect(tmp_path)
        assert found.resolved == str(tmp_path / "ckpt-7")
        assert found.verdict.endswith("but TensorFlow does not find it: see P001")
        told = [each.code for each in found.findings]
    else:
        report = ckptdoctor.check(tmp_path, all=way.endswith("--all"))
        assert (report.exit_code, bool(report)) == (1, False)
        told = [each.code for each in report.results[-1].findings]
    assert told.count("P001") == 1


def test_one_checkpoint_without_a_state_file(tmp_path: Path) -> None:
    """It is P001 for the directory, and nothing for the checkpoint itself: a script may name it."""
    prefix = write_model(tmp_path / "ckpt-7")
    assert codes(tmp_path) == ["P001"]
    assert codes(Path(prefix)) == []


def test_an_absolute_path_that_is_right(tmp_path: Path) -> None:
    """A run that was not moved is sound, also when it is reached through a link."""
    prefix = write_model(tmp_path / "run" / "ckpt-7")
    write_state(tmp_path / "run", prefix)
    (tmp_path / "link").symlink_to("run")
    assert codes(tmp_path / "run") == codes(tmp_path / "link") == []


def test_a_copied_run(tmp_path: Path) -> None:
    """The state file of a copy names the original, from which TensorFlow would go on."""
    prefix = write_model(tmp_path / "run" / "ckpt-7")
    write_state(tmp_path / "run", prefix)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    (found,) = ckptdoctor.inspect(tmp_path / "copy")
    assert found.resolved == str(tmp_path / "copy" / "ckpt-7")
    (finding,) = [each for each in found.findings if each.code == "P001"]
    assert "of another directory: TensorFlow goes on from there" in finding.message


def test_inspect_says_what_check_says(tmp_path: Path) -> None:
    """A newer checkpoint beside the latest, and an incomplete one, are told by both."""
    for number in (5, 6, 7):
        write_model(tmp_path / f"ckpt-{number}", iterations=number)
    write_state(tmp_path, "ckpt-5")
    (tmp_path / "ckpt-7.data-00000-of-00001").unlink()
    (checked,) = ckptdoctor.check(tmp_path).results
    assert codes(tmp_path) == ["I006", "P005"] == sorted({each.code for each in checked.findings} - {"P002", "S010"})


def test_the_variables_of_a_saved_model(fixtures_dir: Path) -> None:
    """The folder `variables` means its SavedModel."""
    (target,) = locate(str(fixtures_dir / "savedmodel" / "variables"))
    assert (target.reader, target.resolved) == ("saved-model", str(fixtures_dir / "savedmodel"))
    assert [each.code for each in target.oddities] == ["P003"]


# ------------------------------------------------------------------------------------------------------ rows of files


@pytest.fixture
def epochs(tmp_path: Path, fixtures_dir: Path) -> Path:
    """A directory of `ModelCheckpoint`: a file an epoch."""
    for number, loss in ((1, "0.4"), (2, "0.31"), (10, "0.2")):
        shutil.copy(fixtures_dir / "keras3.keras", tmp_path / f"ep{number:02}-{loss}.keras")
    return tmp_path


def test_the_newest_of_a_row(epochs: Path, fixtures_dir: Path) -> None:
    """The newest is read and told, also beside a file that is no part of the row."""
    assert only_path(epochs) == str(epochs / "ep10-0.2.keras")
    assert codes(epochs) == ["P006"]
    shutil.copy(fixtures_dir / "keras3.keras", epochs / "best.keras")
    assert only_path(epochs) == str(epochs / "ep10-0.2.keras")


def test_models_that_are_no_row(tmp_path: Path, fixtures_dir: Path) -> None:
    """Of models with names of their own none is the newest: wrong use, nothing is unreadable."""
    for name in ("generator", "classifier"):
        shutil.copy(fixtures_dir / "keras3.keras", tmp_path / f"{name}.keras")
    with pytest.raises(UsageProblem, match=r"holds 2 artifacts \(classifier.keras, generator.keras\): name one"):
        locate(str(tmp_path))


def test_all_goes_below(tmp_path: Path, epochs: Path) -> None:
    """With --all, runs in directories below are found, each with its artifacts and as a whole; links are no way."""
    for name in ("a", "deep/er/b"):
        write_model(tmp_path / name / "ckpt-7")
        write_state(tmp_path / name, "ckpt-7")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    write_bundle(tmp_path / ".cache" / "ckpt-1", W)
    deepest = tmp_path.joinpath(*["d"] * 300)
    write_bundle(deepest / "ckpt-1", W)
    found = [os.path.relpath(each.path, tmp_path) for each in locate(str(tmp_path), everything=True)]
    assert found == [
        "ep01-0.4.keras",
        "ep02-0.31.keras",
        "ep10-0.2.keras",
        "a/ckpt-7",
        f"{'d/' * 300}ckpt-1",
        "deep/er/b/ckpt-7",
    ]
    results = ckptdoctor.check(epochs, all=True).results
    wholes = [os.path.relpath(each.path, tmp_path) for each in results if each.examination is None]
    assert wholes == [".", "a", "d" + "/d" * 299, "deep/er/b"]


# -------------------------------------------------------------------------------------------------- a name of two kinds


def test_a_file_and_a_checkpoint_of_one_name(tmp_path: Path, fixtures_dir: Path) -> None:
    """`cp.ckpt` may be an HDF5 file and a checkpoint: both are told, and advice names the one that it is of."""
    prefix = write_model(tmp_path / "cp.ckpt", iterations=0)
    shutil.copy(fixtures_dir / "whole-model.h5", prefix)
    (file,) = ckptdoctor.inspect(prefix)
    assert file.format.value == "keras-h5"
    assert any(each.code == "P004" and "cp.ckpt.index beside it" in each.message for each in file.findings)
    (checkpoint,) = ckptdoctor.inspect(f"{prefix}.index")
    assert checkpoint.format.value == "tf-checkpoint"
    assert {each.format.value for each in ckptdoctor.inspect(tmp_path, all=True)} == {"keras-h5", "tf-checkpoint"}
    write_bundle(prefix, W)
    (weights,) = ckptdoctor.inspect(f"{prefix}.index")
    (lost,) = [each for each in weights.findings if each.code == "S001"]
    assert f"--into {prefix}.index" in lost.hint


# ------------------------------------------------------------------------------------------------------------ callbacks


def test_backup_and_restore(tmp_path: Path) -> None:
    """Keras 3's BackupAndRestore builds the optimizer before it loads (3.3 on): it restores what load_weights skips."""
    (tmp_path / "training_metadata.json").write_text('{"epoch": 5, "batch": 2}')
    write_weights(tmp_path / "latest.weights.h5")
    (found,) = ckptdoctor.inspect(tmp_path)
    assert found.state is not None
    assert (found.path, found.resolved) == (str(tmp_path), str(tmp_path / "latest.weights.h5"))
    assert (found.state.counters["epoch"], found.state.counters["batch"]) == (5, 2)
    assert "L002" not in codes(tmp_path)
    assert "L002" in codes(tmp_path / "latest.weights.h5")
    assert ckptdoctor.check(tmp_path, loader="keras==3.3").passed
    assert not ckptdoctor.check(tmp_path, loader="keras==3.2.1").passed
    (tmp_path / "training_metadata.json").write_text("{")
    assert "I007" in codes(tmp_path)


def write_weights(path: Path) -> None:
    """A `.weights.h5` of Keras 3 with Adam's state."""
    import h5py
    import numpy as np

    with h5py.File(str(path), "w") as file:
        for index, shape in enumerate(((3, 4), (4,))):
            file[f"layers/dense/vars/{index}"] = np.ones(shape, "float32")
        variables = [np.int64(70), np.float32(1e-3), *(np.full(s, 0.5, "f4") for s in ((3, 4), (3, 4), (4,), (4,)))]
        for index, value in enumerate(variables):
            file[f"optimizer/vars/{index}"] = value


def test_the_chief_of_a_backup(tmp_path: Path) -> None:
    """tf.keras' BackupAndRestore keeps its checkpoints in a folder of the chief worker."""
    write_model(tmp_path / "chief" / "ckpt-3")
    write_state(tmp_path / "chief", "ckpt-3")
    assert only_path(tmp_path) == str(tmp_path / "chief" / "ckpt-3")


# -------------------------------------------------------------------------------------------------- what is not there


def test_a_run_of_lightning(tmp_path: Path, fixtures_dir: Path) -> None:
    """The directory of a run keeps its checkpoints one level below; with artifacts of its own, those are meant."""
    below = tmp_path / "version_0" / "checkpoints"
    below.mkdir(parents=True)
    (tmp_path / "version_0" / "hparams.yaml").write_text("{}\n", encoding="utf-8")
    shutil.copy(fixtures_dir / "keras3.keras", below / "epoch=1.keras")
    assert only_path(tmp_path / "version_0") == str(below / "epoch=1.keras")
    assert "P003" in codes(tmp_path / "version_0")
    shutil.copy(fixtures_dir / "whole-model.h5", tmp_path / "version_0" / "model.h5")
    assert only_path(tmp_path / "version_0") == str(tmp_path / "version_0" / "model.h5")


def test_nothing_there_is_a_file_not_found(tmp_path: Path) -> None:
    """Python's own error, too: `except FileNotFoundError` works."""
    with pytest.raises(FileNotFoundError) as caught:
        ckptdoctor.inspect(tmp_path / "nothing")
    assert isinstance(caught.value, NoSuchPath)
    assert isinstance(caught.value, ckptdoctor.errors.CkptDoctorError)
    assert str(caught.value).startswith("no such file")
