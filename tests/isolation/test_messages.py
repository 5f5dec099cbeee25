"""Answers of a worker that a hostile file has taken over: they change nothing in the process that reads them."""

from __future__ import annotations

import copyreg
import pickle
import re

import pytest

from ckptdoctor.diagnosis.findings import Finding, Severity
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.isolation.messages import Garbled, distrusted, packed
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Format, OptimizerState, Producer, Schedule, TrainingState

TYPES = (TensorRef, Producer, Finding, Schedule, OptimizerState, TrainingState, UnreadableArtifact, Severity, Format)
STATES = (
    {"size": 0},
    (None, {"size": 0}),
    (None, {"framework": "x"}),
    (None, {"severity": None}),
    (None, {"__new__": 1}),
)


def named(kind: type) -> bytes:
    """Opcode GLOBAL."""
    return f"c{kind.__module__}\n{kind.__qualname__}\n".encode()


def pushed(value: object) -> bytes:
    """The opcodes that put a value on the stack, without header, memo and end."""
    return re.sub(rb"q.", b"", pickle.dumps(value, 2)[2:-1])


def seen(kind: type) -> dict[str, int]:
    """What a type is made of."""
    return {name: id(value) for name, value in vars(kind).items()}


@pytest.mark.parametrize("state", STATES, ids=repr)
@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_types_stay_what_they_are(kind: type, state: object) -> None:
    """BUILD on a type: refused, and nothing is left of it."""
    before = seen(kind)
    with pytest.raises(Garbled):
        distrusted(b"\x80\x02" + named(kind) + pushed(state) + b"b.")
    assert seen(kind) == before


@pytest.mark.parametrize("state", [{"_value_": "info"}, {"new": 1}, (None, {"_value_": "info"})], ids=repr)
def test_members_stay_what_they_are(state: object) -> None:
    """BUILD on a member of an enumeration, which all of the process shares."""
    member = named(Severity) + pushed("error") + b"\x85R"  # Severity("error")
    with pytest.raises(Garbled, match="changes Severity"):
        distrusted(b"\x80\x02" + member + pushed(state) + b"b.")
    assert (Severity.ERROR.value, Severity("error")) == ("error", Severity.ERROR)
    assert not hasattr(Severity.ERROR, "new")


def test_what_was_changed_before_an_error_is_undone() -> None:
    """An answer that changes a type and then breaks off is no way around."""
    before = seen(TensorRef)
    with pytest.raises(Garbled):
        distrusted(b"\x80\x02" + named(TensorRef) + pushed((None, {"size": 0})) + b"b" + b"cos\nsystem\n.")
    assert seen(TensorRef) == before
    assert TensorRef("k", "float32", (2, 3), None).size == 6


def test_honest_answers_pass() -> None:
    """What workers answer is built as it was, states that BUILD sets on what is new among it."""
    schedule = Schedule("ExponentialDecay", {"decay_rate": 0.5}, 0.1)
    optimizer = OptimizerState("optimizer", "Adam", None, schedule=schedule)
    answer = TrainingState("p", Format.KERAS_H5, Producer("keras", "3"), optimizers=(optimizer,))
    assert distrusted(packed(answer)) == answer
    error = distrusted(packed(UnreadableArtifact("is cut short", "p")))
    assert isinstance(error, UnreadableArtifact)
    assert error.path == "p"
    assert distrusted(packed((Severity.ERROR, [1, 2.5j, None]))) == (Severity.ERROR, [1, 2.5j, None])


def test_answers_are_the_same_in_every_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program has errors pickled by, as one of Dask's has by tblib, is not asked."""
    error = UnreadableArtifact("is cut short", "p")
    before = packed(error)
    monkeypatch.setitem(copyreg.dispatch_table, UnreadableArtifact, lambda each: (print, (each.message,)))
    assert pickle.dumps(error, 5) != before
    assert packed(error) == before
