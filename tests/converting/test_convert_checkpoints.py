"""Keras' archives and TensorFlow's checkpoints into one another: training goes on from each of them."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TypeAlias

import pytest
from support.commands import ckptdoctor as run
from support.frameworks import child, verified

import ckptdoctor

CHILD = "across/keras_checkpoints.py"
CASES = ("plain", "branches", "recurrent", "nested", "frozen", "scaled", "averaged")
ALWAYS = (
    ("{}.keras", "{}.out.ckpt", None),
    ("{}.ckpt", "{}.out.keras", "like"),
    ("{}.ckpt", "{}.out.weights.h5", "like"),
    ("{}.weights.h5", "{}.out.weights.ckpt", "like"),
    ("{}.h5", "{}.out.h5.keras", None),
)
"""Source, output, and the archive that it is to be like."""
ONCE = {
    "keras": (
        ("accumulated.keras", "accumulated.out.ckpt", None),
        ("accumulated.ckpt", "accumulated.out.keras", "like"),
        ("plain.h5", "plain.out.h5.ckpt", None),
    ),
    "tf_keras": (
        ("plain.saved", "plain.out.saved.keras", "like"),
        ("recurrent.model", "recurrent.out.model.keras", "like"),
        ("legacy.ckpt", "legacy.out.bare.keras", "bare"),
        ("legacy.h5", "legacy.out.h5.keras", None),
    ),
    "": (
        ("plain.keras", "plain.out.model.ckpt", None),
        ("plain.ckpt", "plain.out.bare.keras", "bare"),
        ("plain.counted-1", "plain.out.fast.keras", "fast"),
        ("nested.counted-1", "nested.out.fast.keras", "fast"),
    ),
}
Made: TypeAlias = "Callable[[str, Iterable[str]], Path]"


def convert(folder: Path, source: str, output: str, like: str | None) -> None:
    """Converts one artifact in a folder."""
    to = "tf-checkpoint" if output.endswith(".ckpt") else None
    model = None if like is None else folder / f"{source.partition('.')[0]}.{like}.keras"
    ckptdoctor.convert(folder / source, folder / output, to, like=model)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Iterable[str]], Path]:
    """Makes models by a framework, each once; answers the folder with their files."""

    @cache
    def folder_of(framework: str) -> Path:
        if importlib.util.find_spec(framework) is None:
            pytest.skip(f"{framework} is not installed")
        return tmp_path_factory.mktemp(framework)

    def make(framework: str, names: Iterable[str]) -> Path:
        folder = folder_of(framework)
        missing = [name for name in names if not (folder / f"{name}.keras").exists()]
        if missing:
            child(CHILD, framework, "make", folder, *missing)
        return folder

    return make


@pytest.mark.real
@pytest.mark.parametrize(
    ("framework", "names"),
    [
        pytest.param("keras", ("plain", "nested"), id="keras, two models"),
        pytest.param("tf_keras", ("nested", "legacy"), id="tf_keras, two models"),
        pytest.param("keras", (*CASES, "accumulated"), id="keras, every model", marks=pytest.mark.nightly),
        pytest.param("tf_keras", (*CASES, "legacy"), id="tf_keras, every model", marks=pytest.mark.nightly),
    ],
)
def test_training_goes_on(framework: str, names: tuple[str, ...], made: Made, tmp_path: Path) -> None:
    """Every way between the formats, with models in rows and graphs, in models and below layers."""
    folder = made(framework, names)
    for file in (each for name in names for each in folder.glob(f"{name}.*")):
        copied = shutil.copytree if file.is_dir() else shutil.copy
        copied(file, tmp_path / file.name)
    usual = [(one.format(name), other.format(name), like) for name in CASES for one, other, like in ALWAYS]
    every = (*usual, *ONCE[framework], *ONCE[""])
    conversions = [each for each in every if each[0].partition(".")[0] in names]
    unloaded = ("averaged.h5", "averaged.out.h5.keras", None)
    if framework == "keras" and unloaded in conversions:
        conversions.remove(unloaded)  # which Keras 3 does not load itself
    for each in conversions:
        convert(tmp_path, *each)
    whole = {"nested.out.ckpt", "nested.out.keras"} & {output for _, output, _ in conversions}
    assert whole
    for name in sorted(whole):
        loaded = verified(tmp_path / name, "tensorflow")
        assert (loaded.nothing_to_restore, loaded.ok) == (False, True), loaded
    found = child(CHILD, framework, "prove", tmp_path, *names)
    if "averaged" in names and framework == "keras":
        result = run("convert", "averaged.h5", "--output", "averaged.keras.keras", cwd=tmp_path)
        assert (result.code, "is an operation" in result.err) == (4, True), result.err
    lost = {name: found.pop(name) for name in sorted(found) if name.endswith(".lost")}
    assert min(lost.values()) > 1e-3, lost
    assert sorted(found) == sorted(output for _, output, _ in conversions)
    assert {name: apart for name, apart in found.items() if apart > 1e-6} == {}


@pytest.mark.real
@pytest.mark.parametrize(
    ("one", "other", "names"),
    [
        ("keras", "tf_keras", ("plain",)),
        ("tf_keras", "keras", ("legacy",)),
        pytest.param("keras", "tf_keras", ("plain", "branches", "recurrent"), marks=pytest.mark.nightly),
        pytest.param("tf_keras", "keras", ("plain", "branches", "recurrent", "legacy"), marks=pytest.mark.nightly),
    ],
)
def test_from_one_keras_to_the_other(one: str, other: str, names: tuple[str, ...], made: Made, tmp_path: Path) -> None:
    """A checkpoint of one, like an archive of the other: the optimizer is translated, the layers are the same."""
    donors, likes = made(one, names), made(other, [name.replace("legacy", "plain") for name in names])
    for name in names:
        for each in (*donors.glob(f"{name}.ckpt.*"), donors / f"{name}.end.npz"):
            shutil.copy(each, tmp_path)
        shutil.copy(likes / f"{name.replace('legacy', 'plain')}.like.keras", tmp_path / f"{name}.like.keras")
        convert(tmp_path, f"{name}.ckpt", f"{name}.out.keras", "like")
    found = child(CHILD, other, "prove", tmp_path, *names)
    apart = {name: found[f"{name}.out.keras"] for name in names}
    assert max(apart.values()) <= 1e-6, apart


ROUND = (
    "k3.15jax-batchnorm",
    "k3.15jax-nested",
    "k3.15jax-adam_ema",
    "k3.15jax-mixed_f16",
    "k3.6jax-frozen",
    "tf2.15-order",
)


@pytest.mark.parametrize("name", ROUND)
def test_there_and_back(name: str, museum: Path, tmp_path: Path) -> None:
    """What an archive holds is in the checkpoint, and comes back from it bit by bit."""
    source, back = museum / f"keras/{name}-keras.keras", tmp_path / "back.keras"
    ckptdoctor.convert(source, tmp_path / "there", "tf-checkpoint")
    ckptdoctor.convert(tmp_path / "there", back, like=source)
    found = ckptdoctor.diff(source, back, values=True, weights=True)
    assert (found.equal, found.weights.verdict.value) == (True, "equal")


REFUSED = {
    "keras/k3.15jax-subclass-keras.keras": ("OUT.ckpt", None, "no Sequential or functional model"),
    "keras/k3.15jax-containers-keras.keras": ("OUT.ckpt", None, "no Sequential or functional model"),
    "keras/k3.15jax-h5_then_keras-keras.keras": ("OUT.ckpt", None, "nothing records the class"),
    "tf/v2.10-tfk-ckpt-adam/ckpt": ("OUT.keras", None, "by --like MODEL.keras"),
    "keras/k3.15jax-batchnorm-wh5.weights.h5": ("OUT.keras", None, "by --like MODEL.keras"),
    "tf/v2.0-tfk-ckpt-adam/ckpt": ("OUT.keras", "k3.15jax-batchnorm", "its model is not the one of the configuration"),
    "tf/v2.0-tfk-ckpt-gan/ckpt-1": ("OUT.keras", "k3.15jax-batchnorm", "optimizers discriminator_optimizer"),
    "tf/v1.15-tf1-adam/model.ckpt-7": ("OUT.keras", "k3.15jax-batchnorm", "a checkpoint of names"),
    "keras/k3.15jax-sameshape-wh5.weights.h5": ("OUT.keras", "k3.15jax-nested", "which the model of --like has"),
    "keras/k3.15jax-nested-h5.h5": ("OUT.keras", "k3.15jax-nested", "--like is for"),
}
"""Source → output, the archive that it is to be like, and a part of the sentence."""


@pytest.mark.parametrize("source", REFUSED)
def test_what_is_refused(source: str, museum: Path, tmp_path: Path) -> None:
    """One sentence, and nothing is left behind."""
    output, like, said = REFUSED[source]
    words = ["--to", "tf-checkpoint"] if output.endswith(".ckpt") else []
    words += [] if like is None else ["--like", str(museum / f"keras/{like}-keras.keras")]
    result = run("convert", museum / source, "--output", tmp_path / output, *words)
    assert (result.code, said in result.err, result.err.count("\n")) == (4, True, 1), result.err
    assert not list(tmp_path.iterdir())


def test_like_is_for_keras(museum: Path, tmp_path: Path) -> None:
    """Where the result has no configuration of Keras' own, it is not passed over in silence."""
    like = museum / "keras/k3.15jax-batchnorm-keras.keras"
    torch = museum / "torch1.12/adam-legacy.pt"
    for words in ((), ("--to", "tf-checkpoint")):
        result = run("convert", torch, "--output", tmp_path / "out.pt", "--like", like, *words)
        assert (result.code, "--like is for" in result.err) == (4, True), result.err
