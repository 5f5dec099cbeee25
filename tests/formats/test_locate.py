"""From what a user points at to what is read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import h5py
import pytest
from support.bundles import array, write_bundle, write_state, write_v1
from support.objects import model, write_model
from support.saved_models import write_saved_model

from ckptdoctor.errors import LimitExceeded, UnknownFormat, UnreadableArtifact, UsageProblem
from ckptdoctor.formats import directories
from ckptdoctor.formats.locate import locate

W = {"w": array(1.0)}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder: ckpt-9, ckpt-10 and a state file that names ckpt-9 as the latest."""
    folder = tmp_path / "run"
    for number in (9, 10):
        write_bundle(folder / f"ckpt-{number}", W)
    write_state(folder, "ckpt-9", "ckpt-10")
    return folder


def _one(path: str | Path, *, everything: bool = False) -> tuple[str, str]:
    (target,) = locate(str(path), everything=everything)
    assert target.path == str(path)
    return target.reader, target.resolved


@pytest.mark.parametrize("ending", ["", ".index", ".data-00000-of-00001"])
def test_a_checkpoint(run: Path, ending: str) -> None:
    """A checkpoint is meant by its prefix and by any of its files."""
    assert _one(f"{run}/ckpt-9{ending}") == ("tf-checkpoint", f"{run}/ckpt-9")


def test_a_data_file_is_told(run: Path) -> None:
    """Who names a data file is told which checkpoint it is of."""
    (target,) = locate(f"{run}/ckpt-9.data-00000-of-00001")
    assert [oddity.code for oddity in target.oddities] == ["P003"]


@pytest.mark.parametrize("path", ["{}", "{}/", "{}//", "{}/checkpoint"])
def test_a_run_folder(run: Path, path: str) -> None:
    """A folder means the checkpoint that its state file names as the latest, whatever else is there."""
    assert _one(path.format(run))[1].endswith("ckpt-9")


def test_a_folder_without_state_file(run: Path) -> None:
    """Without a state file the highest number counts, as a number, and the doubt is told."""
    (run / "checkpoint").unlink()
    (target,) = locate(str(run))
    assert target.resolved == f"{run}/ckpt-10"
    assert [oddity.code for oddity in target.oddities] == ["P001"]


def test_a_state_file_astray(run: Path) -> None:
    """Where the latest checkpoint is not there, another one is read, and the state file's error is told."""
    write_state(run, "ckpt-11", "ckpt-9")
    (target,) = locate(str(run))
    assert target.resolved == f"{run}/ckpt-10"
    (oddity,) = target.oddities
    assert (oddity.code, "'ckpt-11', which is not here" in oddity.message) == ("P001", True)


def test_a_state_file_of_nothing(tmp_path: Path) -> None:
    """A state file whose checkpoint is gone, and no other there, is an error that says which."""
    write_state(tmp_path, "/elsewhere/ckpt-7")
    with pytest.raises(UnreadableArtifact, match="names '/elsewhere/ckpt-7', which is not here, and no other"):
        locate(str(tmp_path))


@pytest.mark.parametrize("latest", ["../secret/ckpt-1", "/{}/secret/ckpt-1", "sub/../../secret/ckpt-1"])
def test_a_state_file_leads_nowhere_else(run: Path, latest: str) -> None:
    """A relative name that climbs out of the folder is not followed."""
    write_bundle(run.parent / "secret" / "ckpt-1", W)
    write_state(run, latest.format("nowhere"))
    (target,) = locate(str(run))
    assert target.resolved == f"{run}/ckpt-10"


def test_a_moved_run(tmp_path: Path) -> None:
    """A TF1 Saver's absolute names are looked for beside the state file when the folder has moved."""
    prefix = write_bundle(tmp_path / "model.ckpt-7", W)
    write_state(tmp_path, "/gone/run/model.ckpt-7")
    assert _one(tmp_path) == ("tf-checkpoint", prefix)


def test_a_v1_run(tmp_path: Path) -> None:
    """A state file may name V1 checkpoints, in one file or several."""
    path = write_v1(tmp_path / "model.ckpt-7", W)
    write_state(tmp_path, "model.ckpt-7")
    assert _one(tmp_path) == ("tf-checkpoint-v1", path)
    os.rename(path, f"{path}-00000-of-00001")
    assert _one(tmp_path) == ("tf-checkpoint-v1", f"{path}-00000-of-00001")
    assert _one(path) == ("tf-checkpoint-v1", f"{path}-00000-of-00001")


def test_everything(run: Path) -> None:
    """With --all, every artifact of a folder in natural order; data files and the state file are none."""
    write_saved_model(run / "export", model())
    (run / "notes.txt").write_text("nothing")
    with h5py.File(str(run / "model.h5"), "w"):
        pass
    targets = locate(str(run), everything=True)
    assert [(os.path.basename(each.path), each.reader) for each in targets] == [
        ("ckpt-9", "tf-checkpoint"),
        ("ckpt-10", "tf-checkpoint"),
        ("export", "saved-model"),
        ("model.h5", "hdf5"),
    ]


def test_everything_of_nothing(tmp_path: Path) -> None:
    """With --all, a folder without artifacts is an error."""
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(UnreadableArtifact, match="holds no artifact that is known"):
        locate(str(tmp_path), everything=True)


@pytest.mark.parametrize("flat", [False, True])
def test_a_saved_model(tmp_path: Path, *, flat: bool) -> None:
    """A folder with a saved_model.pb is a SavedModel; the checkpoint in it can be named too."""
    path = write_saved_model(tmp_path / "export", model(), flat=flat)
    assert _one(path) == ("saved-model", path)
    inner = f"{path}/variables" if flat else f"{path}/variables/variables"
    assert _one(f"{inner}.index") == ("tf-checkpoint", inner)


def test_the_only_artifact_of_a_folder(tmp_path: Path) -> None:
    """A folder with one artifact in it means that one; with several, one must be named."""
    with h5py.File(str(tmp_path / "a.h5"), "w"):
        pass
    assert _one(tmp_path) == ("hdf5", f"{tmp_path}/a.h5")
    with h5py.File(str(tmp_path / "b.h5"), "w"):
        pass
    with pytest.raises(UsageProblem, match=r"holds 2 artifacts \(a\.h5, b\.h5\): name one, or add --all"):
        locate(str(tmp_path))


@pytest.mark.parametrize("name", ["model.keras", "model.ckpt", "model", "model.index", "a.data-00000-of-00001"])
def test_bytes_decide(tmp_path: Path, name: str) -> None:
    """HDF5 is HDF5 under any name, also behind a user block."""
    for block in (0, 512, 2048):
        with h5py.File(str(tmp_path / name), "w", userblock_size=block):
            pass
        assert _one(tmp_path / name)[0] == "hdf5"


def test_a_v1_checkpoint(tmp_path: Path) -> None:
    """A table that is no bundle's index is a V1 checkpoint."""
    path = write_v1(tmp_path / "model.ckpt", W)
    assert _one(path) == ("tf-checkpoint-v1", path)


def test_an_index_under_another_name(tmp_path: Path) -> None:
    """A bundle's index that was renamed is told from a V1 checkpoint, with what to do."""
    prefix = write_bundle(tmp_path / "p", W)
    os.rename(f"{prefix}.index", tmp_path / "model.ckpt")
    with pytest.raises(UnreadableArtifact, match=r"the index of a TensorFlow checkpoint under another name: call it"):
        locate(str(tmp_path / "model.ckpt"))


def test_a_missing_index(tmp_path: Path) -> None:
    """Data files without their index are an error that names it."""
    prefix = write_bundle(tmp_path / "ckpt-7", W)
    os.unlink(f"{prefix}.index")
    with pytest.raises(UnreadableArtifact, match=r"ckpt-7\.index is missing; ckpt-7\.data-00000-of-00001 cannot be"):
        locate(prefix)


@pytest.mark.parametrize("size", [0, 20, 100])
def test_a_broken_index(tmp_path: Path, size: int) -> None:
    """An index that was cut says so."""
    prefix = write_model(tmp_path / "p")
    os.truncate(f"{prefix}.index", size)
    with pytest.raises(UnreadableArtifact, match=r"empty|truncated"):
        locate(f"{prefix}.index")


@pytest.mark.parametrize("name", ["ckpt-77", "no/such/folder/ckpt-1", ""])
def test_nothing_there(run: Path, name: str) -> None:
    """A path that does not exist is wrong use, not a broken artifact."""
    with pytest.raises(UsageProblem, match="no such file, directory or checkpoint prefix"):
        locate(f"{run}/{name}" if name else "")


def test_a_near_miss(run: Path) -> None:
    """A mistyped prefix is answered with those that are there."""
    with pytest.raises(UsageProblem, match=r"did you mean ckpt-9"):
        locate(f"{run}/ckpt-99")


@pytest.mark.parametrize("kind", ["fifo", "device", "dangling", "loop", "empty folder"])
def test_what_is_no_artifact(tmp_path: Path, kind: str) -> None:
    """FIFOs, devices and links that lead nowhere are errors; none of them is waited for."""
    path = tmp_path / "model.h5"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path = Path(os.devnull)
    elif kind == "dangling":
        path.symlink_to("gone")
    elif kind == "loop":
        path.symlink_to("model.h5")
    else:
        path.mkdir()
    with pytest.raises(UnreadableArtifact, match=r"regular file|leads nowhere|cannot be opened|empty directory"):
        locate(str(path))


@pytest.mark.parametrize("content", [b"random \x93 bytes" * 9, b"\x80\x99", bytes(range(256))])
def test_unknown_formats(tmp_path: Path, content: bytes) -> None:
    """Bytes that nobody knows are said to be of no known format, whatever the file is called."""
    for name in ("model.h5", "model.ckpt", "a.data-00000-of-00001"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(
            UnreadableArtifact, match=r"of no format that is known|which ckptdoctor does not read|index is missing"
        ):
            locate(str(path))


def test_a_folder_of_too_many_files(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with more names than are listed is refused, since its state file might be among the others."""
    monkeypatch.setattr(directories, "MAX_LISTED", 5)
    assert locate(str(run))  # two checkpoints of two files, and the state file
    (run / "ckpt-11.index").touch()
    with pytest.raises(LimitExceeded, match="more than 5 files: name the checkpoint"):
        locate(str(run))
    assert _one(run / "ckpt-9")[1] == f"{run}/ckpt-9"
    with pytest.raises(UsageProblem, match="no such file"):
        locate(str(run / "ckpt-8"))


def test_names_like_patterns(tmp_path: Path) -> None:
    """Brackets and stars in a path are parts of its name."""
    write_bundle(tmp_path / "a" / "ckpt-1", W)
    with pytest.raises(UsageProblem):
        locate(f"{tmp_path}/[a]/ckpt-1")
    prefix = write_bundle(tmp_path / "[b]" / "ckpt-*", W)
    assert _one(prefix) == ("tf-checkpoint", prefix)


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    """The JSON of weights in two shards, beside weights that only look like a third."""
    folder = tmp_path / "sharded"
    folder.mkdir()
    for number in range(3):
        h5py.File(str(folder / f"m_{number:05}.weights.h5"), "w").close()
    listed = {"/layers/dense/vars": ["m_00000.weights.h5", "m_00001.weights.h5"]}
    whole = folder / "m.weights.json"
    whole.write_text(json.dumps({"metadata": {"total_size": 1.0}, "weight_map": listed}))
    return whole


def test_a_shard_of_weights(sharded: Path) -> None:
    """A shard means the weights of which it is one, also where it is damaged; what no JSON lists is on its own."""
    (sharded.parent / "m_00001.weights.h5").write_bytes(b"")
    for number in range(2):
        (found,) = locate(str(sharded.parent / f"m_{number:05}.weights.h5"))
        assert (found.reader, found.resolved) == ("keras-weights", str(sharded))
        assert [each.code for each in found.oddities] == ["P003"]
    assert _one(sharded.parent / "m_00002.weights.h5")[0] == "hdf5"


def test_shards_in_a_folder(sharded: Path) -> None:
    """In a folder the weights are listed, and not their shards."""
    names = [os.path.basename(each.path) for each in locate(str(sharded.parent), everything=True)]
    assert names == ["m.weights.json", "m_00002.weights.h5"]


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"weight_map": 3}', '{"weight_map": {"a": ["../m_00000.weights.h5"]}}']
)
def test_shards_of_a_broken_list(sharded: Path, text: str) -> None:
    """Where the JSON lists nothing, each file is what it is."""
    sharded.write_text(text)
    assert _one(sharded.parent / "m_00000.weights.h5")[0] == "hdf5"


@pytest.mark.parametrize("name", ["saved_model.pb", "saved_model.pbtxt"])
def test_the_graph_of_a_saved_model(tmp_path: Path, name: str) -> None:
    """The file by which a SavedModel is known means the SavedModel, which is a directory."""
    (tmp_path / name).write_bytes(b"\x08\x01")
    (found,) = locate(f"{tmp_path}/{name}")
    assert (found.reader, found.resolved) == ("saved-model", str(tmp_path))
    assert [each.code for each in found.oddities] == ["P003"]


def test_a_directory_of_runs(tmp_path: Path) -> None:
    """A directory whose directories hold the checkpoints says which to name."""
    for name in ("run-1", "run-2"):
        write_model(tmp_path / name / "ckpt-1")
    (tmp_path / "notes").mkdir()
    with pytest.raises(UnknownFormat, match=r"its directories do: name one of run-1, run-2, or add --all\Z"):
        locate(str(tmp_path))


def test_a_loop_of_links(tmp_path: Path) -> None:
    """Links that lead in a circle are told as such."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UnreadableArtifact, match="too many levels of symbolic links"):
        locate(str(tmp_path / "a"))
