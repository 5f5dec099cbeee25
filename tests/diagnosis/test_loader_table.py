"""The table of losses: well-formed, every row reachable, and no alarm over the museum that was not measured."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from packaging.specifiers import SpecifierSet
from support.commands import python

import ckptdoctor
from ckptdoctor.diagnosis import loader_table
from ckptdoctor.diagnosis.circumstances import CIRCUMSTANCES
from ckptdoctor.diagnosis.loader_table import OBSERVED, every, holds, observed, rows, table
from ckptdoctor.diagnosis.loaders import Line, Loader
from ckptdoctor.examination import Examination
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Format, Generation, ModelVariable, OptimizerState, Producer, Role, Slot, TrainingState

DOCUMENT: dict[str, Any] = json.loads((Path(loader_table.__file__).parent / "loaders.json").read_text(encoding="utf-8"))


def test_the_table_is_well_formed() -> None:
    """Rows have names of their own, evidence, a way out, and only words that mean something."""
    fields = {"rule", "loader", "versions", "formats", "call", "does", "iterations", "slots", "weights", "signal"}
    fields |= {"id", "evidence"}
    more = {"generations", "classes", "producer", "own", "when", "says", "instead", "graft", "usual", "fix"}
    assert len({row.id for row in table()}) == len(table()) == len(DOCUMENT["rows"])
    for row in DOCUMENT["rows"]:
        name = row["id"]
        assert fields <= row.keys() <= fields | more, name
        assert row["rule"] in {"L002", "L003"}, name
        assert set(row["loader"]) <= set(get_args(Line)), name
        assert set(row["formats"]) <= {each.value for each in Format}, name
        assert set(row.get("generations", [])) <= {each.value for each in Generation}, name
        assert set(row.get("when", [])) <= CIRCUMSTANCES.keys() | {OBSERVED}, name
        assert {row["iterations"], row["slots"], row["weights"]} <= {"restored", "lost", "wrong", "depends"}, name
        # A wrapper can be all that is lost.
        assert {row["iterations"], row["slots"]} != {"restored"} or row.get("when") == ["wrapper-unnamed"], name
        assert row["signal"] in {"silent", "log", "warning", "error"}, name
        assert ("generations" in row) != (OBSERVED in row.get("when", [])), name
        assert row["evidence"], name
        assert "instead" in row or "graft" in row, name
        assert row.get("graft", {}).keys() <= {"into", "as"}, name
        assert row.get("producer", {}).keys() <= {"since", "before"}, name
        for specifier in (row["versions"], row.get("own", "")):
            SpecifierSet(specifier)
        # What an artifact's own version loses is no matter of generations.
        assert row["rule"] == "L002" or "own" not in row, name
        # A sentence is made of it: `Keras 3.15's load_model(path) drops …`.
        assert re.match(r"[a-z]+s\b", row["does"]), name


def test_no_call_is_left_over() -> None:
    """Every call that restores something is the way out of some row, and every row's way out is a call."""
    assert {row["instead"] for row in DOCUMENT["rows"] if "instead" in row} == DOCUMENT["calls"].keys()


# ----------------------------------------------------------------------------------------------------- reachable


def _ref(key: str, shape: tuple[int, ...] = (3,)) -> TensorRef:
    return TensorRef(key, "float32", shape, None)


def _slots(*names: str) -> tuple[Slot, ...]:
    return tuple(Slot("m", Role.FIRST_MOMENT, name, _ref(f"{name}/m"), "order") for name in names)


SGD = OptimizerState("optimizer", "SGD", Generation.KERAS1, iterations=7, slots=_slots("a", "b"))._replace(
    hyperparameters={"momentum": 0.0},
)
ADAM = OptimizerState("optimizer", "Adam", Generation.KERAS2, iterations=7, slots=_slots("a", "b"))

OF_TORCH = ADAM._replace(generation=Generation.TORCH)


def _model(format_: Format, producer: Producer, optimizer: OptimizerState, *, frozen: str = "") -> TrainingState:
    variables = tuple(ModelVariable(name, _ref(name), name not in frozen) for name in "ab")
    return TrainingState("p", format_, producer, variables, (optimizer,))


CONSTRUCTED: Mapping[str, TrainingState] = {
    "h5-keras1-sgd": _model(Format.KERAS_H5, Producer("keras", "2.2.4"), SGD),
    "backup-before-3.3": _model(
        Format.KERAS_WEIGHTS, Producer("keras"), ADAM._replace(generation=Generation.KERAS3)
    )._replace(
        callback="BackupAndRestore",
    ),
    "archive-number-tf.keras": _model(Format.KERAS_ARCHIVE, Producer("tf.keras", "2.15.0"), ADAM, frozen="a"),
    "dcp-numbered": _model(
        Format.TORCH_DCP, Producer("torch"), OF_TORCH._replace(slots=_slots("optimizer.state.0.exp_avg"))
    ),
    **{
        f"trainer-{name}": _model(Format.HF_TRAINER, Producer("transformers", version), OF_TORCH)
        for name, version in (
            ("4.50-in-older", "5.24.0"),
            ("4.41-in-older", "4.48.3"),
            ("before-4.41-in-newer", "4.40.2"),
        )
    },
}
"""What the museum has no artifact of."""


@pytest.fixture(scope="module")
def examined(museum_examined: dict[str, Examination]) -> dict[str, TrainingState]:
    """The state of each artifact of the museum."""
    states: dict[str, TrainingState] = {}
    for case, found in museum_examined.items():
        assert found.state is not None
        states[case] = found.state
    return states


def test_every_row_is_reached(examined: dict[str, TrainingState]) -> None:
    """A real artifact or a constructed state meets each row's conditions; `observed` ones belong to verify."""
    reached = {loss.row.id for state in (*examined.values(), *CONSTRUCTED.values()) for loss in every(state)}
    assert reached == {row.id for row in table() if OBSERVED not in row.when}
    for name, state in CONSTRUCTED.items():
        assert name in {loss.row.id for loss in every(state)}


OWN = {
    # Keras 3's own .h5 files with slots; SGD without momentum keeps none, and is restored.
    "h5-keras3": r"(/(k3\.\d+\w+-|reversed_|multiout)|^tf2\.21/)(?!.*(sgd-|nadam|mixed_f16|lossscale)).*h5$",
    "h5-keras3-nadam": r"/k3\.\d+\w+-nadam-h5$",
    "h5-keras3-wrapped": r"(/k3\.\d+\w+-(mixed_f16|lossscale_adam)|/lossscale_\w+)-h5$",
    "h5-wrapped-keras2": r"/tf2\.15lo-lossscale_adam-h5$",
    "h5-misfit-legacy": r"/tf2\.4-freeze_after-h5$",
    "h5-misfit": r"/tf(k2\.21|2\.11|2\.15\w*)-(freeze_after|reversed_apply)-h5$",
    "h5-permuted": r"(/tf2\.15-|_keras/)reversed_sameshape-h5$",
    "archive-unnamed": r"/k3\.\d+\w+-h5_then_keras-keras$",
    "archive-unnamed-wrapper": r"/k3\.\d+\w+-mixed_f16-keras$",
    "archive-number": r"/k3\.15\w+-freeze_after-keras$",
    "archive-attribute": r"/two_optimizers-keras$",
    "archive-attribute-tf.keras": r"/two_optimizers-keras$",
    "weights-attribute": r"/two_optimizers-wh5$",
    "weights-attribute-tf.keras": r"/two_optimizers-wh5$",
    "weights-keras3": r"(/k3\.\d+\w+-|^tf2\.21/|^keras3\.6-jax/).*(wh5|wjson)$",
    "weights-tf.keras": r"(/tf2\.1[235]\w*-|/tfk2\.21-|^tf2\.21-tf_keras/).*wh5$",
    "saved-model-no-metadata": r"-sm-(module_optimizer|tfsave_keras|checkpoint_object)$",
    "saved-model-legacy": r"^tf/v2\.\d+-tfk(_pkg)?-sm-",
    "saved-model": r"^tf/v2\.(10-tfk-sm-exp_|1[1-5]-tfk-sm-|21-tfk_pkg-sm-)|^tf2\.21-tf_keras/sm-",
    "dcp-numbered": r"^torch2.13/dcp-plain$",
    "orbax-3.13": r"^orbax-keras3\.13",
    "orbax-renamed": r"^orbax-keras3\.15-\w+/(sequential|subclass|nested)$",
    "orbax-unnamed-wrapper": r"^orbax-keras3\.15-jax/mixed_f16$",
    "orbax-within-wrapper": r"^orbax-keras3\.15-tf/lossscale$",
    "saved-model-keras3": r"^tf/v2\.\d+-k3-sm-(module_optimizer|tfsave_keras)$",
}
"""The rows that apply to what the producer's own version loads, and the artifacts that were measured to be lost so."""

RESTORED = re.compile(
    r"ckpt|model\.ckpt|getw|vars|variables|tf1|"  # restored in their own version, without exception
    r"-(adam|sgd|rmsprop\w*|adam_schedule|nested|frozen|sameshape|bf16|mixed_bf16|muon)-keras$|"
    r"/tf\d\S*-(adam|nadam|frozen|nested|sgd|sgd_momentum|sameshape|rmsprop_centered_momentum)-h5$|/k[12]\.\S*-h5$"
)
"""Artifacts that their own version was measured to restore."""


def test_no_false_alarm_over_the_museum(examined: dict[str, TrainingState]) -> None:
    """Without --loader only what the producer's own version was measured to lose is told, by these rows alone."""
    alarmed: dict[str, list[str]] = defaultdict(list)
    for case, state in examined.items():
        for loss in rows(state):
            alarmed[loss.row.id].append(case)
            assert loss.row.rule == "L002", case
    assert alarmed.keys() == OWN.keys()
    for row, cases in alarmed.items():
        strange = [case for case in cases if not re.search(OWN[row], case)]
        assert not strange, (row, strange)
    wrongly = {case for cases in alarmed.values() for case in cases if RESTORED.search(case) and "-sm-" not in case}
    assert not wrongly


def test_what_is_at_stake() -> None:
    """An optimizer that never stepped has nothing to lose; one without a count has its slots."""
    state = _model(Format.KERAS_H5, Producer("keras", "3.15.1"), ADAM._replace(generation=Generation.KERAS3))
    assert [loss.row.id for loss in rows(state)] == ["h5-keras3"]
    (held,) = state.optimizers
    for iterations, count in ((0, 0), (None, 1)):
        changed = state._replace(optimizers=(held._replace(iterations=iterations),))
        assert len(rows(changed)) == count


# ------------------------------------------------------------------------------------------------------ versions


def test_unknown_versions_alarm_only_where_every_version_loses() -> None:
    """A Keras 3 of unknown version drops an .h5's slots as all do; whether it takes an old Nadam, nobody knows."""
    slots = (Slot("momentum", Role.FIRST_MOMENT, "a", _ref("optimizer/_variables/3/.ATTRIBUTES/VARIABLE_VALUE")),)
    nadam = OptimizerState("optimizer", "Nadam", Generation.KERAS3, iterations=7, slots=slots)
    nadam = nadam._replace(other=(ckptdoctor.state.OtherVariable("_learning_rate", _ref("r", ()), 0.1),))
    state = TrainingState("p", Format.TF_CHECKPOINT, optimizers=(nadam,))
    assert [loss.row.id for loss in rows(state, Loader("keras", "3.15"))] == ["checkpoint-nadam-3.9-in-3.10"]
    for unknown in (Loader("keras", "3.9.2"), Loader("tensorflow", "2.16"), Loader("keras", ""), None):
        assert rows(state, unknown) == ()
    archive = _model(Format.KERAS_H5, Producer("keras", "3.15.1"), ADAM._replace(generation=Generation.KERAS3))
    assert [loss.row.id for loss in rows(archive, Loader("tensorflow", "2.16"))] == ["h5-keras3"]


@pytest.mark.parametrize(
    ("specifier", "version", "answer"),
    [
        ("", "", True),
        ("", "2.10", True),
        (">=2.11", "", False),
        (">=2.11", "2.11.0rc1", True),
        (">=2.11", "2.10.1", False),
        ("<2.11", "2.2.4-odd", False),
        (">=2.11", "9" * 5000, False),
        (">=2.12,<2.14", "2.13.1", True),
    ],
)
def test_versions(specifier: str, version: str, answer: bool) -> None:  # noqa: FBT001 - a table's column
    """What is not known is among all versions only; a release candidate counts as its release."""
    assert holds(specifier, version) is answer


def test_verify_finds_the_row_of_what_it_saw() -> None:
    """The row whose way out was proven comes first, then what the artifact tells, then what only frameworks see."""
    state = _model(Format.KERAS_H5, Producer("keras", "3.15.1"), ADAM._replace(generation=Generation.KERAS3))
    found = observed(state, Loader("keras", "3.15.1"), "h5-load-model", by="h5-assign")
    assert found is not None
    assert found.id == "h5-keras3"
    plain = _model(Format.KERAS_H5, Producer("tf_keras", "2.21.0"), ADAM)
    found = observed(plain, Loader("tf_keras", "2.21.0"), "h5-load-model", by="h5-assign")
    assert found is not None
    assert found.id == "h5-observed"
    assert observed(plain, Loader("tf_keras", "2.21.0"), "no-such-call", by=None) is None


def test_inspect_needs_no_version_arithmetic(fixtures_dir: Path) -> None:
    """Reading a checkpoint parses no versions: `packaging` would cost a tenth of the start."""
    code = "import sys; from ckptdoctor.cli import cli; cli(sys.argv[1:], standalone_mode=False); print(*sys.modules)"
    paths = [str(fixtures_dir / name) for name in ("run-a", "whole-model.h5", "savedmodel", "keras3.keras", "tf1")]
    result = python("-c", code, "inspect", "--format", "json", *paths)
    assert result.code == 0, result.err
    assert "packaging" not in result.out.split("\n")[-2].split()
    assert "ckptdoctor.diagnosis.loader_table" in result.out
