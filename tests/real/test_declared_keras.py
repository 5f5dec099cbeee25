"""A user's own optimizer of Keras 3, declared: read from archives and checkpoints, and grafted; Keras is the judge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.frameworks import child, needs

import ckptdoctor
from ckptdoctor.errors import GraftRefused

needs("tensorflow")
pytestmark = pytest.mark.real

CHILD = "declared_keras_child.py"
SOPHIA = """
[declare.optimizers.Sophia]
generations = ["keras3"]
registered = "lab>Sophia"
slots = [
  { name = "momentum", role = "first_moment", attribute = "_momentums" },
  { name = "hessian", attribute = "_hessians", when = "curvature" },
]
defaults = { learning_rate = 0.01, beta = 0.9, curvature = 0.5 }
"""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Path]:
    """What Keras trained and saved, and a declaration that counts during the test."""
    child(CHILD, "make", tmp_path)
    (tmp_path / "ckptdoctor.toml").write_text(SOPHIA)
    ckptdoctor.declare(tmp_path / "ckptdoctor.toml")
    yield tmp_path
    ckptdoctor.declare(None)


def _kinds(path: Path) -> tuple[str | None, set[str]]:
    (found,) = ckptdoctor.inspect(path)
    return found.optimizers[0].class_name, {slot.name for slot in found.optimizers[0].slots}


def test_it_goes_on(made: Path) -> None:
    """Both donors of either case are read by the declaration; what is grafted goes on as the run did, bit for bit."""
    jobs: list[list[str]] = []
    for case, kinds in (("two", {"momentum", "hessian"}), ("one", {"momentum"})):
        for donor in ("donor.keras", "donor"):
            assert _kinds(made / case / donor) == ("Sophia", kinds)
            output = made / case / f"from-{donor.partition('.')[2] or 'checkpoint'}.keras"
            settings = {} if donor == "donor.keras" else {"beta": 0.8, "curvature": 0.5 if case == "two" else 0.0}
            ckptdoctor.graft(made / case / donor, made / case / "bare.keras", output, hyperparameters=settings)
            jobs.append([case, str(output)])
    found = child(CHILD, "resume", made, given=jobs)
    assert {path: each for path, each in found.items() if each != {"count": 7, "class": "Sophia", "away": 0.0}} == {}
    assert len(found) == 4


def test_what_is_not_told(made: Path) -> None:
    """A checkpoint does not say the settings: where the default contradicts the state, nothing is written."""
    with pytest.raises(GraftRefused, match="contradict each other in curvature"):
        ckptdoctor.graft(made / "one" / "donor", made / "one" / "bare.keras", made / "out.keras")


def test_undeclared_it_is_no_other_class(made: Path) -> None:
    """Without the declaration nothing says that a list of hessians is a class of Keras."""
    ckptdoctor.declare(None)
    class_name, kinds = _kinds(made / "two" / "donor")
    assert class_name is None
    assert len(kinds) == 2
