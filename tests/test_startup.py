"""What a command loads, opens and starts: as little as the artifact at hand needs, and nothing that it names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from support.bundles import array, write_bundle, write_state, write_v1
from support.commands import python
from support.objects import keras2, keras3, model, tracked, variables, write_model, write_objects
from support.saved_models import write_saved_model

import ckptdoctor

LOADERS = Path(ckptdoctor.__file__).parent / "diagnosis" / "loaders.json"
FRAMEWORKS = {"tensorflow", "keras", "tf_keras", "torch", "jax"}

WATCH = """
import json, os, sys
opened, forbidden = [], []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        opened.append([os.path.realpath(os.fsdecode(arguments[0])), arguments[1] or "r", arguments[2]])
    elif event.split(".")[0] in {"socket", "subprocess", "shutil", "tempfile", "webbrowser", "pickle"} or event in {
        "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.remove", "os.rename", "os.mkdir", "os.truncate"
    }:
        forbidden.append(event)
sys.addaudithook(watch)
from ckptdoctor.cli import cli
from ckptdoctor.isolation import ownership
ownership.claim()
try:
    cli(json.loads(sys.argv[1]), prog_name="ckptdoctor")
except SystemExit as end:
    code = end.code
report = {"code": code, "modules": sorted(sys.modules), "opened": opened, "forbidden": forbidden}
print(json.dumps(report), file=sys.stderr)
"""


def _watched(*arguments: str) -> dict[str, Any]:
    """Runs a command in a process that tells what it loaded and opened."""
    result = python("-c", WATCH, json.dumps(arguments))
    assert result.code == 0, result.err
    report: dict[str, Any] = json.loads(result.err.splitlines()[-1])
    assert report["code"] == 0, result.err
    return report


@pytest.mark.parametrize("name", ["whole-model.h5", "keras3.keras", "run-a", "savedmodel", "optimizer.pkl"])
def test_declarations_are_not_looked_for(fixtures_dir: Path, name: str) -> None:
    """Where every class is one of Keras', neither policy files nor installed packages are asked for others."""
    looks = "import ckptdoctor.declarations.sources as s; from ckptdoctor.isolation import limits; import ckptdoctor\n"
    done = python("-c", f"{looks}limits._is_worker = True; ckptdoctor.inspect({str(fixtures_dir / name)!r})\n"
                        "assert not s.everything.cache_info().misses")  # fmt: skip
    assert done.code == 0, done.err


OF_DIRECTORIES = {"formats.directories", "formats.tensorflow.state_file"}
OF_LISTS = {"optimizers.lists.layout", "optimizers.lists.as_is", "optimizers.keras.naming"}
OF_VALUES = {"optimizers.starting", "optimizers.translation"}
SMALL = {
    "run-a/ckpt-7": (92, OF_DIRECTORIES | OF_LISTS | OF_VALUES | {
        "formats.single_files", "formats.orbax.places", "formats.keras.layers", "optimizers.keras.schedules",
        "containers.bundles.slices", "containers.tables.snappy", "containers.tables.table_writer",
    }),
    "keras3.keras": (126, OF_DIRECTORIES | OF_VALUES),
    "whole-model.h5": (118, OF_DIRECTORIES | OF_VALUES | {"formats.orbax.places"}),
    "torch2.13/adam.pt": (126, OF_DIRECTORIES | OF_LISTS | OF_VALUES | {"optimizers.keras.schedules"}),
}  # fmt: skip
"""Artifact → so many modules of ours are loaded for it at most, and some that it has no need of."""


@pytest.mark.parametrize("name", SMALL)
def test_few_modules(fixtures_dir: Path, museum: Path, name: str) -> None:
    """Each module costs what reading a hundred tensors does: what an artifact has no need of is not loaded for it."""
    most, others = SMALL[name]
    place = museum if name.startswith("torch") else fixtures_dir
    report = _watched("inspect", "--format", "json", str(place / name))
    ours = [each for each in report["modules"] if each.startswith("ckptdoctor")]
    assert not {f"ckptdoctor.{each}" for each in others | {"declarations.sources"}} & set(ours)
    assert len(ours) <= most, len(ours)
    # One takes half a millisecond to define, a named tuple a third of that; zlib-ng takes two to load.
    unneeded = {"zlib_ng", "gzip", "decimal"} | ({"dataclasses"} if not name.startswith("torch") else set())
    assert not _modules(report) & unneeded


def _modules(report: dict[str, Any]) -> set[str]:
    return {name.partition(".")[0] for name in report["modules"]}


def _artifacts(folder: Path) -> dict[str, str]:
    net, other = model(), model()
    net.children["optimizer"] = keras2(variables(net))
    return {
        "object-based": write_model(folder / "a" / "ckpt-1"),
        "keras 3": write_objects(folder / "b" / "ckpt-1", tracked(m=other, o=keras3(variables(other)))),
        "name-based": write_bundle(folder / "c" / "ckpt-1", {"w": array([1.0]), "w/Momentum": array([1.0])}),
        "v1": write_v1(folder / "d" / "ckpt-1", {"w": array([1.0]), "global_step": array(7, "int64")}),
        "saved model": write_saved_model(folder / "e", net, config={"class_name": "Adam", "config": {}}),
        "folder": os.path.dirname(write_state(folder / "a", "ckpt-1")),
    }


KINDS = ["object-based", "keras 3", "name-based", "v1", "saved model", "folder"]


@pytest.mark.parametrize("kind", KINDS)
def test_tensorflow_in_json(tmp_path: Path, kind: str) -> None:
    """A TensorFlow artifact in JSON needs neither numpy nor h5py nor rich, and no framework."""
    report = _watched("inspect", "--format", "json", _artifacts(tmp_path)[kind])
    assert not _modules(report) & (FRAMEWORKS | {"numpy", "h5py", "rich", "ml_dtypes", "zipfile"})


@pytest.mark.parametrize("name", ["orbax-keras3.15-jax/functional", "orbax-jax/manager", "orbax-jax/zarr3"])
def test_orbax_in_json(museum: Path, name: str) -> None:
    """An Orbax checkpoint needs a decoder of zstd, and neither numpy nor h5py nor rich nor what wrote it."""
    report = _watched("inspect", "--format", "json", str(museum / name))
    assert "zstandard" in _modules(report)
    assert not _modules(report) & (FRAMEWORKS | {"numpy", "h5py", "rich", "ml_dtypes", "orbax", "tensorstore"})
    assert not _outside(report, str(museum / name))
    assert not report["forbidden"]


OF_TORCH = (
    "adam.pt", "adam-legacy.pt", "whole.pt", "lightning.ckpt", "dcp-names", "trainer/checkpoint-7", "accelerate",
    "deepspeed-1", "baselines.zip", "safetensors-optimizer.safetensors",
)  # fmt: skip


@pytest.mark.parametrize("name", OF_TORCH)
def test_torch_in_json(museum: Path, name: str) -> None:
    """What torch and its trainers save needs neither numpy nor torch, and nothing beside it is opened."""
    path = str(museum / "torch2.13" / name)
    report = _watched("inspect", "--format", "json", path)
    assert not _modules(report) & (FRAMEWORKS | {"numpy", "h5py", "rich", "ml_dtypes", "safetensors", "pickle"})
    assert not _outside(report, path)
    assert not _written(report)
    assert not report["forbidden"]


def test_zstd_is_loaded_for_zstd_alone(tmp_path: Path) -> None:
    """Chunks that lie as they are need no decoder, and nothing that is not in chunks does."""
    folder = tmp_path / "item" / "params.w"
    folder.mkdir(parents=True)
    fields = {"zarr_format": 2, "shape": [2], "chunks": [2], "dtype": "<f4", "compressor": None, "order": "C"}
    (folder / ".zarray").write_text(json.dumps({**fields, "fill_value": None, "filters": None}))
    (folder / "0").write_bytes(bytes(8))
    for path in (folder.parent, _artifacts(tmp_path)["object-based"]):
        assert "zstandard" not in _modules(_watched("inspect", "--format", "json", str(path)))


def test_tensorflow_in_text(tmp_path: Path) -> None:
    """For a terminal rich is loaded, and still neither numpy nor h5py."""
    loaded = _modules(_watched("inspect", _artifacts(tmp_path)["object-based"]))
    assert "rich" in loaded
    assert not loaded & (FRAMEWORKS | {"numpy", "h5py"})


def test_figures_load_numpy(tmp_path: Path) -> None:
    """Figures need numpy, and no framework."""
    loaded = _modules(_watched("inspect", "--stats", "--format", "json", _artifacts(tmp_path)["object-based"]))
    assert "numpy" in loaded
    assert not loaded & (FRAMEWORKS | {"h5py", "rich"})


@pytest.mark.parametrize("name", ["whole-model.h5", "keras3.keras", "lost.weights.h5"])
def test_hdf5_is_read_without_its_library(fixtures_dir: Path, name: str) -> None:
    """What h5py writes by itself is read in this process: it loads neither h5py nor numpy, and starts no other."""
    report = _watched("inspect", "--format", "json", str(fixtures_dir / name))
    assert not _modules(report) & (FRAMEWORKS | {"h5py", "numpy", "rich", "subprocess"})
    assert report["forbidden"] == []


@pytest.mark.parametrize("words", [("check", "--deep", "--no-config"), ("inspect", "--stats")])
def test_values_of_hdf5_are_read_without_its_library(words: tuple[str, ...], fixtures_dir: Path) -> None:
    """Where values lie in one piece, and are of no strange type, the library is not loaded for them either."""
    report = _watched(*words, "--format", "json", str(fixtures_dir / "whole-model.h5"))
    assert not _modules(report) & (FRAMEWORKS | {"h5py", "rich", "subprocess"})
    assert report["forbidden"] == []


def test_unusual_hdf5_is_read_elsewhere(tmp_path: Path) -> None:
    """What only the library knows is read in a worker process: the command itself loads neither h5py nor numpy."""
    import h5py

    with h5py.File(str(tmp_path / "new.h5"), "w", libver="latest") as file:
        file["layers/dense/vars/0"] = 1.0
    report = _watched("inspect", "--format", "json", str(tmp_path / "new.h5"))
    assert not _modules(report) & (FRAMEWORKS | {"h5py", "numpy", "rich", "subprocess"})
    assert report["forbidden"] == ["os.fork"]


def test_a_graft_leaves_hdf5_to_its_worker(fixtures_dir: Path, tmp_path: Path) -> None:
    """It is planned without the library, and without arrays where weights are the same bytes."""
    donor = str(fixtures_dir / "whole-model.h5")
    words = ("--from", donor, "--into", donor, "--output", str(tmp_path / "out.h5"))
    report = _watched("graft", "--quiet", "--format", "json", *words)
    assert not _modules(report) & (FRAMEWORKS | {"numpy", "h5py", "rich"})


def test_diff_loads_no_framework(fixtures_dir: Path) -> None:
    """A comparison loads no framework, no rich for JSON, and opens nothing but its two artifacts."""
    a, b = str(fixtures_dir / "run-a"), str(fixtures_dir / "run-a" / "ckpt-7")
    report = _watched("diff", "--values", "--weights", "--format", "json", a, b)
    assert not _modules(report) & (FRAMEWORKS | {"h5py", "rich"})
    assert not _outside(report, a)
    assert not report["forbidden"]


def test_a_history_in_json(tmp_path: Path) -> None:
    """The checkpoints of a run need neither numpy nor rich, and nothing is started for a few of them."""
    folder = os.path.dirname(_artifacts(tmp_path)["object-based"])
    report = _watched("history", "--format", "json", folder)
    assert not _modules(report) & (FRAMEWORKS | {"numpy", "h5py", "rich", "ml_dtypes", "zipfile"})
    assert not _outside(report, folder)
    assert not _written(report)
    assert not report["forbidden"]


def test_a_recipe_loads_no_framework(tmp_path: Path) -> None:
    """The script names a framework; what writes it reads one slot for its norm."""
    path = _artifacts(tmp_path)["object-based"]
    report = _watched("recipe", path)
    assert not _modules(report) & (FRAMEWORKS | {"h5py", "rich"})
    assert not _outside(report, os.path.dirname(path))
    assert not _written(report)
    assert not report["forbidden"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["inspect", "--help"],
        ["explain", "--help"],
        ["history", "--help"],
        ["recipe", "--help"],
    ],
)
def test_help_loads_nothing(arguments: list[str]) -> None:
    """Help and version load neither formats nor reports."""
    report = _watched(*arguments)
    loaded = _modules(report)
    assert not loaded & (FRAMEWORKS | {"numpy", "h5py", "rich", "google"})
    assert "ckptdoctor.examination" not in report["modules"]


def test_explaining_loads_no_format() -> None:
    """A rule is explained without what reads artifacts."""
    loaded = _modules(_watched("explain", "--format", "json", "S003"))
    assert not loaded & (FRAMEWORKS | {"numpy", "h5py", "rich", "google"})


def _outside(report: dict[str, Any], *allowed: str) -> list[str]:
    """Files that were opened and are neither allowed nor code nor the table of loaders, which is part of it."""
    folders = tuple(os.path.realpath(each) for each in allowed)
    own = (".py", ".pyc", ".so", ".pyd", ".pth", ".zip", ".pxd", ".dist-info")
    return [
        path
        for path, _, _ in report["opened"]
        if not path.startswith(folders)
        and not path.endswith(own)
        and path != os.path.realpath(LOADERS)
        and not path.startswith(("/proc", "/sys", "/dev", "/etc"))
    ]


def _written(report: dict[str, Any]) -> list[str]:
    """Files that were opened to be written, but for byte code."""
    return [
        path
        for path, mode, flags in report["opened"]
        if (set(mode) & set("wax+") or flags & (os.O_WRONLY | os.O_RDWR)) and "__pycache__" not in path
    ]


@pytest.mark.parametrize("flags", [[], ["--tensors"], ["--stats"]])
@pytest.mark.parametrize("kind", KINDS)
def test_only_the_artifact_is_opened(tmp_path: Path, kind: str, flags: list[str]) -> None:
    """No file but the artifact's own is opened, none is written, no process is started, nothing goes to the network."""
    path = _artifacts(tmp_path)[kind]
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    report = _watched("inspect", "--format", "json", *flags, path)
    assert _outside(report, folder) == []
    assert _written(report) == []
    assert report["forbidden"] == []
    assert any(opened.startswith(os.path.realpath(folder)) for opened, _, _ in report["opened"])


def test_data_is_not_read(tmp_path: Path) -> None:
    """Without --stats only scalars and the object graph are read of 4 GB: the rest could be anything."""
    net = model({"w/kernel": (2,)})
    prefix = write_objects(tmp_path / "p", tracked(model=net))
    with open(f"{prefix}.data-00000-of-00001", "r+b") as file:
        file.truncate(4 << 30)
    assert _watched("inspect", "--format", "json", prefix)["code"] == 0
