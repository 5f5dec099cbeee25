"""Keras' own formats into one another: the optimizer goes on, which the loader of `.h5` does not let it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import ckptdoctor
from support.frameworks import child, needs

needs("keras")


@pytest.mark.real
def test_whole_models_as_archives_and_weights(tmp_path: Path) -> None:
    """`.h5` to `.keras`, and that to `.weights.h5`: what Keras loads of them trains on as the run did."""
    child("across/keras_conversions.py", "make", tmp_path)
    for name in ("sequential", "functional", "recurrent"):
        for source, target in ((f"{name}.h5", f"{name}.keras"), (f"{name}.keras", f"{name}.weights.h5")):
            result = ckptdoctor("convert", source, "--output", target, cwd=tmp_path)
            assert result.code == 0, result.err
    found = child("across/keras_conversions.py", "prove", tmp_path)
    assert len(found) == 6
    assert {name: each for name, each in found.items() if each != 0} == {}
    assert sorted(each.suffix for each in tmp_path.iterdir()) == [*[".h5"] * 6, *[".keras"] * 3]


@pytest.mark.parametrize("name", ["k2.2.4-adam", "k1.2.2-adagrad", "k2.0.8-nested"])
def test_what_needs_its_own_keras_is_refused(name: str, museum: Path, tmp_path: Path) -> None:
    """Keras before TensorFlow had its own: layers of the same names mean something else today."""
    result = ckptdoctor("convert", museum / f"keras/{name}-h5.h5", "--output", tmp_path / "out.keras")
    assert (result.code, "before TensorFlow had its own" in result.err) == (4, True), result.err
    assert not list(tmp_path.iterdir())
