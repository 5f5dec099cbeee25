"""Which slot of A faces which of B: by name, by order, by the weights, by the user's word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from support.bundles import array
from support.objects import Node, keras3, legacy, model, tracked, variable, variables, write_objects

import ckptdoctor
from ckptdoctor.comparison.results import Comparison, Outcome, SlotResult, Verdict
from ckptdoctor.errors import Unmatchable, UnreadableArtifact, UsageProblem
from ckptdoctor.state import Role


def write(path: Path, net: Node, optimizer: Node | None = None, **more: Node) -> str:
    """A checkpoint of a model and its optimizer."""
    return write_objects(path, tracked(model=net, optimizer=optimizer or legacy(variables(net)), **more))


def slots(found: Comparison) -> dict[tuple[str, Role], SlotResult]:
    """Every slot, by A's (else B's) variable and its role."""
    return {(slot.variable, slot.role): slot for each in found.optimizers for slot in each.slots}


def outcomes(found: Comparison) -> set[Outcome]:
    """What slots came out as."""
    return {slot.outcome for each in found.optimizers for slot in each.slots}


M, V = Role.FIRST_MOMENT, Role.SECOND_MOMENT


def test_another_shape(tmp_path: Path) -> None:
    """A variable of one name and another shape has changed; it is not two that are lacking."""
    a = write(tmp_path / "a", model())
    b = write(
        tmp_path / "b", model({"hidden/kernel": (3, 5), "hidden/bias": (5,), "out/kernel": (5, 1), "out/bias": (1,)})
    )
    found = slots(ckptdoctor.diff(a, b, values=True))
    assert len(found) == 8
    assert found["hidden/kernel", M].outcome is Outcome.DIFFERENT
    assert found["hidden/kernel", M].detail == "its shape is 3x4 in A and 3x5 in B"
    assert found["out/bias", M].outcome is Outcome.EQUAL


def test_a_layer_more(tmp_path: Path) -> None:
    """What only one model has is only there."""
    layers = {"hidden/kernel": (3, 4), "out/kernel": (4, 1)}
    a = write(tmp_path / "a", model(layers))
    b = write(tmp_path / "b", model({**layers, "more/kernel": (9, 9)}))
    found = slots(ckptdoctor.diff(a, b, values=True))
    assert found["more/kernel", V].outcome is Outcome.ONLY_B
    assert found["more/kernel", V].a is None
    assert slots(ckptdoctor.diff(b, a))["more/kernel", V].outcome is Outcome.ONLY_A


def test_slots_that_are_lacking(tmp_path: Path) -> None:
    """An artifact that lost a kind of slot lacks it for every variable."""
    net = model()
    a = write(tmp_path / "a", net)
    b = write(tmp_path / "b", net, legacy(variables(net), slots=("m",)))
    found = ckptdoctor.diff(a, b, values=True)
    assert {role: {s.outcome for (_, r), s in slots(found).items() if r is role} for role in (M, V)} == {
        M: {Outcome.EQUAL},
        V: {Outcome.ONLY_A},
    }


def test_across_generations(tmp_path: Path) -> None:
    """Slots of one role are one quantity, whatever a generation calls them."""
    net = model()
    found = ckptdoctor.diff(write(tmp_path / "a", net), write(tmp_path / "b", net, keras3(variables(net))), values=True)
    assert found.verdict is Verdict.EQUAL
    assert {(slot.a.name, slot.b.name) for slot in slots(found).values() if slot.a and slot.b} == {
        ("m", "momentum"),
        ("v", "velocity"),
    }


TWINS = {"a/kernel": (3, 3), "b/kernel": (3, 3)}
OTHERS = {"x/kernel": (3, 3), "y/kernel": (3, 3)}


def twins(path: Path, names: Sequence[str], order: Sequence[int], *, weights: Sequence[float] = (1.0, 2.0)) -> str:
    """Two kernels of one shape, each with its own weights and moments, in an order of the object graph."""
    random = np.random.default_rng(1)
    noise = random.normal(size=(2, 3, 3))
    net = Node()
    moments: dict[str, float] = {}
    for index in order:
        kernel = variable(array(noise[index] + weights[index]), f"{names[index]}/kernel")
        net.children[names[index]] = Node({"kernel": kernel})
        moments[kernel.full_name] = index + 0.5
    optimizer = legacy([])
    for each in variables(net):
        optimizer.slots += [
            (each, kind, variable(array(np.full((3, 3), moments[each.full_name])), f"Adam/{each.full_name}/{kind}"))
            for kind in ("m", "v")
        ]
    return write(path, net, optimizer)


def test_an_order_that_weights_confirm(tmp_path: Path) -> None:
    """Renamed layers of one shape are matched by order; equal weights make that certain."""
    found = ckptdoctor.diff(
        twins(tmp_path / "a", ("a", "b"), (0, 1)), twins(tmp_path / "b", ("x", "y"), (0, 1)), values=True
    )
    assert found.verdict is Verdict.EQUAL
    assert {slot.matched for slot in slots(found).values()} == {"weights"}


def test_an_order_that_weights_contradict(tmp_path: Path) -> None:
    """Weights that show a permutation leave it undecided, with the mapping that would settle it."""
    a, b = twins(tmp_path / "a", ("a", "b"), (0, 1)), twins(tmp_path / "b", ("x", "y"), (1, 0))
    found = ckptdoctor.diff(a, b, values=True)
    assert found.verdict is Verdict.UNDECIDED
    assert "but its weights are those of" in next(iter(slots(found).values())).detail
    found = ckptdoctor.diff(a, b, values=True, mapping={"a/": "x/", "b/": "y/"})
    assert found.verdict is Verdict.EQUAL
    assert {slot.matched for slot in slots(found).values()} == {"map"}


def test_an_order_that_nothing_proves(tmp_path: Path) -> None:
    """Matched by order, and the weights tell nothing: the values are compared, and the doubt is told."""
    a = twins(tmp_path / "a", ("a", "b"), (0, 1))
    b = twins(tmp_path / "b", ("x", "y"), (0, 1), weights=(50.0, 90.0))
    (optimizer,) = ckptdoctor.diff(a, b, values=True).optimizers
    assert {slot.matched for slot in optimizer.slots} == {"order"}
    assert any("matched by order among equal shapes, which nothing proves" in note for note in optimizer.notes)


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"nothing": "hidden/kernel"}, "A has no variable 'nothing'"),
        ({"hidden/kernel": "nothing"}, "B has no variable 'nothing'"),
        ({"hidden/kernel": "out/bias"}, r"hidden/kernel has shape \[3, 4\], out/bias \[1\]"),
    ],
)
def test_mappings_that_make_no_sense(tmp_path: Path, mapping: Mapping[str, str], says: str) -> None:
    """A name that is not there, or a shape that does not fit, is wrong use."""
    path = write(tmp_path / "a", model())
    with pytest.raises(Unmatchable, match=says):
        ckptdoctor.diff(path, path, mapping=mapping)


def test_a_mapping_of_what_is_not_trained(tmp_path: Path) -> None:
    """A variable without slots may be mapped as well: for its weights."""
    paths = []
    for name in ("old", "new"):
        net = model()
        optimizer = legacy(variables(net))
        net.children[name] = Node({"mean": variable([1.0, 2.0, 3.0], f"{name}/mean")})
        paths.append(write(tmp_path / name, net, optimizer))
    found = ckptdoctor.diff(*paths, values=True, weights=True, mapping={"old/mean": "new/mean"})
    assert found.verdict is Verdict.EQUAL
    assert {each.variable for each in found.weights.results if each.matched == "map"} == {"old/mean"}


def gan(path: Path, *names: str) -> str:
    """Several optimizers, each of its own model."""
    nets = {name: model({f"{name}/kernel": (3, 4)}) for name in names}
    optimizers = {f"{name}_optimizer": legacy(variables(net)) for name, net in nets.items()}
    return write_objects(path, tracked(**nets, **optimizers))


def test_several_optimizers(tmp_path: Path) -> None:
    """Those of one name belong together; otherwise one has to be named."""
    a, b, c = gan(tmp_path / "a", "g", "d"), gan(tmp_path / "b", "d", "g"), gan(tmp_path / "c", "g", "e")
    found = ckptdoctor.diff(a, b, values=True)
    assert found.verdict is Verdict.EQUAL
    assert all(each.name_a == each.name_b for each in found.optimizers)
    with pytest.raises(Unmatchable, match="A has 2 optimizers"):
        ckptdoctor.diff(a, c)
    assert ckptdoctor.diff(a, c, optimizer="g_optimizer", values=True).verdict is Verdict.EQUAL
    with pytest.raises(Unmatchable, match="B has no optimizer 'd_optimizer'"):
        ckptdoctor.diff(a, c, optimizer="d_optimizer")
    with pytest.raises(Unmatchable, match="neither artifact has an optimizer 'no'"):
        ckptdoctor.diff(a, c, optimizer="no")


def test_a_weight_of_one_model(tmp_path: Path) -> None:
    """A variable that only one model has is a difference of the weights, where those count."""
    net, other = model(), model()
    optimizer = legacy(variables(other))
    other.children["more"] = Node({"mean": variable([1.0, 2.0, 3.0], "more/mean")})
    a, b = write(tmp_path / "a", net), write(tmp_path / "b", other, optimizer)
    assert ckptdoctor.diff(a, b, values=True).verdict is Verdict.EQUAL
    found = ckptdoctor.diff(a, b, values=True, weights=True)
    assert found.verdict is Verdict.DIFFERENT
    assert [each.variable for each in found.weights.results if each.outcome is Outcome.ONLY_B] == ["more/mean"]


def test_one_bit_shows(tmp_path: Path) -> None:
    """A single changed value of a single slot is found, counted and measured."""
    paths = []
    for number, name in enumerate("ab"):
        net = model()
        optimizer = legacy(variables(net))
        values = np.full((3, 4), 0.5, "float32")
        values[1, 2] += number * 2.0**-23
        optimizer.slots[0] = (*optimizer.slots[0][:2], variable(array(values), "Adam/hidden/kernel/m"))
        paths.append(write(tmp_path / name, net, optimizer))
    found = ckptdoctor.diff(*paths, values=True)
    changed = [slot for slot in slots(found).values() if slot.outcome is Outcome.DIFFERENT]
    assert [(each.variable, each.role) for each in changed] == [("hidden/kernel", M)]
    assert changed[0].figures is not None
    assert (changed[0].figures.differing, changed[0].figures.max_absolute) == (1, 2.0**-23)


def test_wrong_use(tmp_path: Path) -> None:
    """Options that make no sense, and paths that lead nowhere."""
    path = write(tmp_path / "a", model())
    with pytest.raises(UsageProblem, match="rtol is a number from 0 on"):
        ckptdoctor.diff(path, path, values=True, rtol=float("nan"))
    with pytest.raises(UsageProblem, match="ask for values or weights too"):
        ckptdoctor.diff(path, path, atol=1.0)
    with pytest.raises(UsageProblem, match="unknown option 'tolerance'"):
        ckptdoctor.diff(path, path, tolerance=1.0)  # type: ignore[call-arg]
    with pytest.raises(UsageProblem, match="no such file"):
        ckptdoctor.diff(path, tmp_path / "nowhere")
    (tmp_path / "text").write_text("no artifact")
    with pytest.raises(UnreadableArtifact):
        ckptdoctor.diff(tmp_path / "text", path)


def test_data_that_is_not_there(tmp_path: Path) -> None:
    """A shard that is too short is unreadable as soon as its values are asked for: never equal."""
    net = model({"hidden/kernel": (64, 64)})
    a, b = write(tmp_path / "a", net), write(tmp_path / "b", net)
    shard = Path(f"{b}.data-00000-of-00001")
    shard.write_bytes(shard.read_bytes()[:200])
    with pytest.raises(UnreadableArtifact):
        ckptdoctor.diff(a, b, values=True)
