"""Checks of artifacts and run directories, as the Python API gives them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.bundles import write_state
from support.objects import write_model

import ckptdoctor
from ckptdoctor.checking.results import Checked, CheckReport
from ckptdoctor.errors import UsageProblem
from ckptdoctor.references import FileRange


def codes(result: Checked) -> list[str]:
    """The findings of a result, without the share of the bytes."""
    return [each.code for each in result.findings if each.code != "P002"]


def only(report: CheckReport) -> Checked:
    """The one result of a report."""
    (result,) = report.results
    return result


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory with three checkpoints, the last one the latest."""
    folder = tmp_path / "run"
    for number in (5, 6, 7):
        write_model(folder / f"ckpt-{number}", iterations=number)
    write_state(folder, "ckpt-7", "ckpt-5", "ckpt-6")
    return folder


# ------------------------------------------------------------------------------------------------- what is an artifact


def test_complete(fixtures_dir: Path) -> None:
    """A complete artifact passes."""
    report = ckptdoctor.check(fixtures_dir / "whole-model.h5")
    assert (report.passed, report.exit_code, codes(only(report))) == (True, 0, [])


def test_weights_only(fixtures_dir: Path) -> None:
    """Weights alone fail where training should go on, and pass where they are a release."""
    report = ckptdoctor.check(fixtures_dir / "weights-only.h5")
    assert (report.exit_code, codes(only(report))) == (1, ["S001"])
    hint = only(report).findings[0].hint
    assert "ckptdoctor graft --from DONOR --into MODEL.keras" in hint, "the file's own layout has no place for it"
    release = only(ckptdoctor.check(fixtures_dir / "weights-only.h5", expect="weights-only"))
    assert (release.passed, release.ignored) == (True, 0), "what does not apply is not ignored"


def test_optimizer_state_in_a_release(fixtures_dir: Path) -> None:
    """What training needs is what a release must not have."""
    result = only(ckptdoctor.check(fixtures_dir / "whole-model.h5", expect="weights-only"))
    assert [(each.code, each.severity.value) for each in result.findings] == [("P002", "error")]
    assert "67 % of the bytes are optimizer state" in result.findings[0].message


def test_several_paths(fixtures_dir: Path, tmp_path: Path) -> None:
    """Every path is tried, in order; the highest code of all wins."""
    garbage = tmp_path / "garbage.h5"
    garbage.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    paths = [fixtures_dir / "weights-only.h5", tmp_path / "nowhere", garbage, fixtures_dir / "keras3.keras"]
    report = ckptdoctor.check(*paths)
    assert [each.exit_code for each in report.results] == [1, 2, 3, 0]
    assert [each.path for each in report.results] == [str(path) for path in paths]
    assert report.results[1].problem is not None
    assert report.exit_code == 3
    assert codes(report.results[2]) == ["I001"]


def test_unreadable_stays_unreadable(tmp_path: Path) -> None:
    """What cannot be read never passes, whatever is ignored."""
    (tmp_path / "empty.h5").write_bytes(b"")
    report = ckptdoctor.check(tmp_path / "empty.h5", ignore=["I"])
    assert (report.passed, report.exit_code, only(report).ignored) == (False, 3, 1)


def test_settings_are_checked(fixtures_dir: Path) -> None:
    """A setting that makes no sense is an error of the caller's."""
    with pytest.raises(UsageProblem, match="expect should be one of"):
        ckptdoctor.check(fixtures_dir / "whole-model.h5", expect="resumeable")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"require": ["iterations", "slots", "hyperparameters", "weights"]}, []),
        ({"min_iterations": 7, "optimizer": "adam"}, []),
        ({"min_iterations": 8}, ["E002"]),
        ({"optimizer": "SGD"}, ["E003"]),
    ],
)
def test_expectations(fixtures_dir: Path, settings: dict[str, object], expected: list[str]) -> None:
    """What the policy asks of an artifact that is at iteration 7 with Adam's state."""
    assert codes(only(ckptdoctor.check(fixtures_dir / "keras3.keras", **settings))) == expected  # type: ignore[arg-type]


def test_expectations_of_weights(fixtures_dir: Path) -> None:
    """Each part that is required and not there is a finding of its own; a count and a class need an optimizer."""
    result = only(
        ckptdoctor.check(
            fixtures_dir / "weights-only.h5",
            ignore=["S"],
            require=["iterations", "slots", "hyperparameters", "weights"],
            min_iterations=1,
            optimizer="Adam",
        )
    )
    assert codes(result) == ["E001", "E001", "E001", "E002", "E003"]
    dump = only(ckptdoctor.check(fixtures_dir / "optimizer.pkl", require=["weights"]))
    assert [each.message for each in dump.findings if each.code == "E001"] == [
        "weights are required, but no model variable is in it"
    ]


def test_deep_is_asked_for(tmp_path: Path) -> None:
    """A flipped bit is seen with `deep`, and only with it."""
    prefix = write_model(tmp_path / "ckpt-7")
    (found,) = ckptdoctor.inspect(prefix)
    assert found.state is not None
    place = found.state.variables[0].tensor.location
    assert isinstance(place, FileRange)
    raw = bytearray(Path(place.path).read_bytes())
    raw[place.offset] ^= 4
    Path(place.path).write_bytes(raw)
    assert ckptdoctor.check(prefix).passed
    assert codes(only(ckptdoctor.check(prefix, deep=True)))[0] == "I004"


# ------------------------------------------------------------------------------------------------------ run directories


def test_the_latest_stands_for_the_run(run: Path) -> None:
    """A sound run directory is one result: its latest checkpoint."""
    result = only(ckptdoctor.check(run))
    assert (result.path, result.passed, codes(result)) == (str(run), True, [])
    assert result.examination is not None
    assert result.examination.resolved == str(run / "ckpt-7")


def test_all_of_a_run(run: Path) -> None:
    """With `everything`, each checkpoint is a result, and the directory as a whole is the last."""
    report = ckptdoctor.check(run, all=True)
    assert [os.path.basename(each.path) for each in report.results] == ["ckpt-5", "ckpt-6", "ckpt-7", "run"]
    assert report.results[-1].examination is None
    assert report.passed


def test_latest_is_older(run: Path) -> None:
    """P005: the state file points behind the newest checkpoint."""
    write_state(run, "ckpt-5")
    result = only(ckptdoctor.check(run))
    assert codes(result) == ["P005"]
    assert result.passed
    assert "ckpt-5 at iteration 5; ckpt-7 is at 7" in result.findings[0].message


def test_state_file_astray(run: Path) -> None:
    """P001: the state file names what is not here; what is here is said, also with `everything`."""
    write_state(run, "ckpt-9")
    result = only(ckptdoctor.check(run))
    assert codes(result) == ["P001"]
    assert "ckpt-7 is read instead" in result.findings[0].message
    whole = ckptdoctor.check(run, all=True).results[-1]
    assert codes(whole) == ["P001"]
    assert "lists ckpt-9, which is not here; here: ckpt-5, ckpt-6, ckpt-7" in whole.findings[0].message


def test_newest_incomplete(run: Path) -> None:
    """I006: the newest checkpoint lacks its data file; the newest complete one is named."""
    os.unlink(run / "ckpt-7.data-00000-of-00001")
    result = only(ckptdoctor.check(run))
    assert (result.exit_code, set(codes(result))) == (3, {"I002", "I006"})
    finding = next(each for each in result.findings if each.code == "I006")
    assert "ckpt-7, the newest of 3, is not complete" in finding.message
    assert "the newest complete one is ckpt-6" in finding.message
    assert finding.hint == f"resume from {run / 'ckpt-6'}"


@pytest.mark.parametrize(
    ("names", "newest"),
    [
        (("resnet50-100", "resnet50-200", "resnet50-300"), "resnet50-300"),
        (("net2_ckpt-1", "net2_ckpt-2"), "net2_ckpt-2"),
        (("epoch_2-loss_0.10", "epoch_10-loss_0.09"), "epoch_10-loss_0.09"),
        (("ckpt-1.0", "ckpt-1.25", "ckpt-1.5"), "ckpt-1.5"),
        (("ckpt-99999999999999999998", "ckpt-99999999999999999999"), "ckpt-99999999999999999999"),
    ],
)
def test_the_newest_by_its_name(tmp_path: Path, names: tuple[str, ...], newest: str) -> None:
    """I006: the first number that differs tells which is the newest, whatever the files' times are."""
    for age, name in enumerate(names):
        write_model(tmp_path / name)
        os.utime(f"{tmp_path / name}.index", (2e9 - age, 2e9 - age))
    assert "I006" not in codes(ckptdoctor.check(tmp_path, all=True).results[-1])
    os.truncate(f"{tmp_path / names[0]}.index", 10)
    assert "I006" not in codes(ckptdoctor.check(tmp_path, all=True).results[-1])
    os.truncate(f"{tmp_path / newest}.index", 10)
    (finding,) = [each for each in ckptdoctor.check(tmp_path, all=True).results[-1].findings if each.code == "I006"]
    assert finding.message.startswith(f"{newest}, the newest of {len(names)}, is not complete")


def test_the_newest_by_its_time(tmp_path: Path) -> None:
    """Members of a family without numbers are one each: nothing is newer than another."""
    for name in ("best", "last"):
        write_model(tmp_path / name)
    os.truncate(tmp_path / "last.index", 10)
    assert "I006" not in codes(ckptdoctor.check(tmp_path, all=True).results[-1])


def test_the_verdict_on_a_run(run: Path) -> None:
    """A run directory is said to be right only if nothing was found in it, and all that lies in it passed."""

    def verdict() -> tuple[bool, str]:
        whole = ckptdoctor.check(run, all=True).results[-1]
        return whole.passed, whole.verdict.removeprefix("the run directory as a whole: ")

    assert verdict() == (True, "nothing is wrong")
    os.truncate(run / "ckpt-6.index", 10)
    assert verdict() == (True, "no findings of its own; 1 of 3 artifacts failed")
    (run / "ckpt-8.index.tempstate123").write_bytes(b"")
    assert verdict() == (True, "1 warning; 1 of 3 artifacts failed")
    write_state(run, "ckpt-9")
    assert verdict() == (False, "1 error, 1 warning; 1 of 3 artifacts failed")


def test_interrupted_save(run: Path) -> None:
    """I005 and I006: data without its index, and temporary files, are what a save that was killed leaves behind."""
    shutil.copy(run / "ckpt-7.data-00000-of-00001", run / "ckpt-8.data-00000-of-00001")
    (run / "ckpt-8.index.tempstate123").write_bytes(b"")
    result = only(ckptdoctor.check(run))
    assert set(codes(result)) == {"I005", "I006"}
    assert "ckpt-8.index is missing" in next(each.message for each in result.findings if each.code == "I006")


def test_twins_that_disagree(tmp_path: Path, fixtures_dir: Path) -> None:
    """V004: `model.h5` and `model.keras` of one run are at different iterations."""
    import h5py

    shutil.copy(fixtures_dir / "keras3.keras", tmp_path / "model.keras")
    shutil.copy(fixtures_dir / "whole-model.h5", tmp_path / "model.h5")
    assert ckptdoctor.check(tmp_path).passed
    with h5py.File(str(tmp_path / "model.h5"), "r+") as file:
        file["optimizer_weights/Adam/iter:0"][...] = 3
    whole = ckptdoctor.check(tmp_path).results[-1]
    assert codes(whole) == ["V004"]
    assert "model.h5 is at iteration 3, model.keras is at iteration 7" in whole.findings[0].message


def test_a_directory_of_models(tmp_path: Path, fixtures_dir: Path) -> None:
    """Without TF checkpoints every artifact is meant; what is called a model and is none is not passed over."""
    shutil.copy(fixtures_dir / "keras3.keras", tmp_path / "a.keras")
    (tmp_path / "b.keras").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    (tmp_path / "notes.txt").write_text("not ours")
    report = ckptdoctor.check(tmp_path)
    assert [os.path.basename(each.path) for each in report.results] == ["a.keras", "b.keras", tmp_path.name]
    assert [each.exit_code for each in report.results] == [0, 3, 0]
    assert codes(report.results[1]) == ["I008"]


def test_an_empty_directory(tmp_path: Path) -> None:
    """Nothing to judge is never a success."""
    assert only(ckptdoctor.check(tmp_path)).exit_code == 3


def test_a_saved_model_is_an_artifact(fixtures_dir: Path) -> None:
    """A SavedModel is a directory, but no run directory."""
    result = only(ckptdoctor.check(fixtures_dir / "savedmodel"))
    assert result.passed
    assert result.examination is not None


def sharded(museum: Path) -> str:
    """Real weights of Keras 3 in two shards: their JSON."""
    (found,) = museum.rglob("k3.15tf-adam-wjson*.weights.json")
    return str(found)


def test_shards_are_the_weights(museum: Path, tmp_path: Path) -> None:
    """Each shard is judged as the whole, and the whole once, whatever names it first and how often."""
    whole = sharded(museum)
    parts = [whole.replace(".weights.json", f"_0000{number}.weights.h5") for number in (0, 1)]
    for paths in (parts, [parts[1], whole], [whole, *parts]):
        result = only(ckptdoctor.check(*paths))
        assert (result.path, result.passed) == (paths[0], True)
        assert result.examination is not None
        assert [each.class_name for each in result.examination.optimizers] == ["Adam"]
        assert ("P003" in codes(result)) == (paths[0] != whole)
    for each in (whole, *parts):
        shutil.copy(each, tmp_path)
    assert only(ckptdoctor.check(tmp_path)).passed
    assert only(ckptdoctor.check(tmp_path, all=True)).passed
    assert len(ckptdoctor.check(whole, whole).results) == 2, "who names one twice hears of it twice"


def test_overrides_by_path(tmp_path: Path, fixtures_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy of a configuration file is weighed for each path."""
    from ckptdoctor.checking.configuration import configure
    from ckptdoctor.checking.run import check_paths

    (tmp_path / "release").mkdir()
    shutil.copy(fixtures_dir / "weights-only.h5", tmp_path / "release" / "model.h5")
    shutil.copy(fixtures_dir / "weights-only.h5", tmp_path / "model.h5")
    (tmp_path / "ckptdoctor.toml").write_text('[[overrides]]\npaths = ["release/**"]\nexpect = "weights-only"\n')
    monkeypatch.chdir(tmp_path)
    policy = configure({}).policy
    passed = [each.passed for each in check_paths(["model.h5", "release/model.h5"], policy)]
    assert passed == [False, True]
