"""Averages in the place of weights, and optimizers that begin anew: as Keras and TensorFlow themselves make them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from support.frameworks import child

import ckptdoctor

pytestmark = pytest.mark.real
NIGHTLY = pytest.mark.nightly
CHILD = str(Path(__file__).with_name("repair_state_child.py"))
ENDINGS = (".weights.h5", ".keras", ".h5", "-ckpt.index", "-orbax")


SOME = ("adam", "adagrad-high", "rewritten-adam", "legacy-nadam")


@pytest.mark.parametrize(
    ("backend", "package", "cases"),
    [
        ("tensorflow", "tf_keras", SOME),
        ("jax", "orbax", ()),
        pytest.param("tensorflow", "tf_keras", (), marks=NIGHTLY),
    ],
)
def test_state_as_the_framework_makes_it(tmp_path: Path, backend: str, package: str, cases: tuple[str, ...]) -> None:
    """Averages are loaded as weights and go back to what they were; a reset optimizer trains on as a new one does."""
    if importlib.util.find_spec(package) is None or importlib.util.find_spec(backend) is None:
        pytest.skip(f"{package} is not installed")
    settings = {"KERAS_BACKEND": backend}
    child(CHILD, "make", tmp_path, *cases, settings=settings)
    for path in sorted(tmp_path.iterdir()):
        ending = next((each for each in ENDINGS if path.name.endswith(each)), None)
        if ending is None:
            continue
        name, ending = path.name.removesuffix(ending), ending.removesuffix(".index")
        ckptdoctor.repair(path, tmp_path / f"{name}-reset{ending}", fixes=["reset"])
        if (tmp_path / f"{name}-averages.npz").exists():
            out, back = tmp_path / f"{name}-averages{ending}", tmp_path / "back" / f"{name}{ending}"
            back.parent.mkdir(exist_ok=True)
            for source, goal in ((path, out), (out, back)):
                ckptdoctor.repair(source, goal, fixes=["averages"])
            assert ckptdoctor.diff(path, back, values=True, weights=True).equal, path
    for mode, least in (("averages", 2), ("reset", 3)):
        found = child(CHILD, mode, tmp_path, *cases, settings=settings)
        assert len(found) >= least
        assert set(found.values()) == {0.0}, found
