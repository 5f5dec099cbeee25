"""Plans of grafts between trees of JAX programs: what fits is taken whole, and what is refused says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.orbax.zarr_arrays import v2, write

import ckptdoctor
from ckptdoctor import inspect
from ckptdoctor.errors import CkptDoctorError, GraftRefused
from ckptdoctor.state import Status, TrainingState

W = np.arange(6, dtype="float32").reshape(2, 3)
PARAMETERS = {"params.w": W, "params.v": W + 10}
COUNT = np.asarray(7, "int32")
ADAM = {
    "opt_state.0.count": COUNT,
    **{f"opt_state.0.{field}.{name}": W + at for at, field in enumerate(("mu", "nu")) for name in ("w", "v")},
    "opt_state.2.count": COUNT,
}
STEP = {"step": np.asarray(7, "int32")}


def item(folder: Path, leaves: dict[str, Any], *, empty: tuple[str, ...] = ("opt_state.1",)) -> Path:
    """An item whose arrays lie in directories."""
    write(folder, {name: v2(array, array.shape, packer="zstd") for name, array in leaves.items()})
    nodes = {}
    for name in (*leaves, *(empty if any(each.startswith("opt_state") for each in leaves) else ())):
        keys = name.split(".")
        path = [{"key": key, "key_type": 1 if key.isdigit() else 2} for key in keys]
        kind = "np.ndarray" if name in leaves else "None"
        nodes[str(tuple(keys))] = {"key_metadata": path, "value_metadata": {"value_type": kind}}
    (folder / "_METADATA").write_text(json.dumps({"tree_metadata": nodes, "use_zarr3": False}))
    (folder / "_CHECKPOINT_METADATA").write_text(json.dumps({"commit_timestamp_nsecs": 1}))
    return folder


def state(path: Path) -> TrainingState:
    """What a result holds."""
    (found,) = inspect(path)
    assert found.status is Status.COMPLETE
    assert found.state is not None
    return found.state


@pytest.fixture
def donor(tmp_path: Path) -> Path:
    """Adam with a schedule, at step 7."""
    return item(tmp_path / "donor", {**PARAMETERS, **ADAM, **STEP})


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Parameters alone."""
    return item(tmp_path / "target", PARAMETERS)


def test_the_whole_chain(donor: Path, target: Path, tmp_path: Path) -> None:
    """Every leaf is there, the empty one and the program's step too, and told as Orbax tells it."""
    ckptdoctor.graft(donor, target, tmp_path / "out")
    found = state(tmp_path / "out")
    assert found.optimizers[0].iterations == 7
    assert found.counters == {"step": 7}
    whole, out = (json.loads((path / "_METADATA").read_text())["tree_metadata"] for path in (donor, tmp_path / "out"))
    assert {key: value["key_metadata"] for key, value in out.items()} == {
        key: value["key_metadata"] for key, value in whole.items()
    }
    assert out["('opt_state', '1')"]["value_metadata"]["value_type"] == "None"


def test_all_counts(donor: Path, target: Path, tmp_path: Path) -> None:
    """--iterations N sets the count of Adam, that of the schedule and the program's step."""
    ckptdoctor.graft(donor, target, tmp_path / "out", iterations=500)
    found = state(tmp_path / "out")
    assert found.optimizers[0].iterations == 500
    assert not found.optimizers[0].conflicts
    assert found.counters == {"step": 500}
    ckptdoctor.graft(None, tmp_path / "out", tmp_path / "more", iterations=600)
    assert state(tmp_path / "more").counters == {"step": 600}


def test_a_state_of_its_own_gives_way(donor: Path, tmp_path: Path) -> None:
    """A fresh state of the same chain is replaced."""
    fresh = {name: np.zeros_like(value) for name, value in {**ADAM, **STEP}.items()}
    target = item(tmp_path / "fresh", {**PARAMETERS, **fresh})
    ckptdoctor.graft(donor, target, tmp_path / "out")
    assert state(tmp_path / "out").optimizers[0].iterations == 7


REFUSED = {
    "another chain": ({**PARAMETERS, "opt_state.0.trace.w": W, "opt_state.0.trace.v": W}, {}, "not the same optimizer"),
    "another model": ({"params.w": W, "params.u": W}, {}, "is not among the target's variables"),
    "one layer more": ({**PARAMETERS, "params.u": W}, {}, "is not among the donor's variables"),
    "another shape": ({"params.w": W.T, "params.v": W + 10}, {}, "has the shape"),
    "parameters at the root": ({"w": W, "v": W}, {}, "no place beside them"),
    "a part": (PARAMETERS, {"only": "slots"}, "taken whole"),
    "a rate": (PARAMETERS, {"learning_rate": 0.1}, "neither class nor settings"),
    "a class": (PARAMETERS, {"optimizer_class": "Adam"}, "neither class nor settings"),
    "a generation": (PARAMETERS, {"generation": "keras3"}, "leave --as out"),
    "a mapping": (PARAMETERS, {"mapping": {"w": "v"}}, "leave --map out"),
    "a count that is too large": (PARAMETERS, {"iterations": 1 << 40}, "cannot hold"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(donor: Path, tmp_path: Path, case: str) -> None:
    """One sentence, and nothing is written."""
    leaves, options, says = REFUSED[case]
    target = item(tmp_path / "target", leaves)
    with pytest.raises(GraftRefused, match=says):
        ckptdoctor.graft(donor, target, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert {each.name for each in tmp_path.iterdir()} == {"donor", "target"}


def test_donors_that_are_not_whole(donor: Path, target: Path, tmp_path: Path) -> None:
    """A chunk that is lost is no zero."""
    (donor / "opt_state.0.nu.w" / "0.0").unlink()
    with pytest.raises(CkptDoctorError, match="not whole"):
        ckptdoctor.graft(donor, target, tmp_path / "out")


def test_keras_has_no_chain(museum: Path, target: Path, tmp_path: Path) -> None:
    """How a chain is built nothing in a Keras optimizer tells."""
    with pytest.raises(GraftRefused, match="chain of optax"):
        ckptdoctor.graft(museum / "orbax-keras3.15-jax" / "functional", target, tmp_path / "out")


def test_a_count_without_a_state(target: Path, tmp_path: Path) -> None:
    """There is none to set."""
    with pytest.raises(GraftRefused, match="no optimizer state"):
        ckptdoctor.graft(None, target, tmp_path / "out", iterations=3)
