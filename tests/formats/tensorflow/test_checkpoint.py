"""Object-based checkpoints: every generation of optimizers in them, and what may be missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from support.bundles import array
from support.objects import (
    Node,
    keras2,
    keras3,
    legacy,
    listed,
    model,
    tf1,
    tracked,
    variable,
    variables,
    write_objects,
)

from ckptdoctor.diagnosis.status import artifact_status, optimizer_status
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.formats.tensorflow import checkpoint as tf_checkpoint
from ckptdoctor.state import Generation, OptimizerState, Role, Status, TrainingState

NAMES = ["hidden/kernel", "hidden/bias", "out/kernel", "out/bias"]


Read = Callable[[Node], TrainingState]
Build = Callable[[Sequence[Node]], Node]


def _slots(optimizer: OptimizerState) -> dict[str, list[str | None]]:
    """Slot name → the variables that have it."""
    found: dict[str, list[str | None]] = {}
    for slot in optimizer.slots:
        found.setdefault(slot.name, []).append(slot.variable)
    return found


def _missing(optimizer: OptimizerState) -> set[tuple[str, str | None]]:
    return {(each.name, each.variable) for each in optimizer.missing}


def _early_keras3(trained: Sequence[Node]) -> Node:
    return keras3(trained, filled=False)


GENERATIONS: list[tuple[Build, Generation, tuple[str, str]]] = [
    (legacy, Generation.OPTIMIZER_V2, ("m", "v")),
    (keras2, Generation.KERAS2, ("m", "v")),
    (keras3, Generation.KERAS3, ("momentum", "velocity")),
    (_early_keras3, Generation.KERAS3, ("momentum", "velocity")),
]


@pytest.mark.parametrize(("build", "generation", "kinds"), GENERATIONS)
def test_adam(read: Read, build: Build, generation: Generation, kinds: tuple[str, str]) -> None:
    """Adam of every generation: class, count, scalars, and each slot with its variable."""
    net = model()
    state = read(tracked(model=net, optimizer=build(variables(net))))
    assert [each.path for each in state.variables] == NAMES
    (optimizer,) = state.optimizers
    assert (optimizer.class_name, optimizer.generation, optimizer.iterations) == ("Adam", generation, 7)
    assert optimizer.hyperparameters["learning_rate"] == pytest.approx(0.001)
    assert {name: sorted(map(str, owners)) for name, owners in _slots(optimizer).items()} == dict.fromkeys(
        kinds, sorted(NAMES)
    )
    shapes = {each.path: each.tensor.shape for each in state.variables}
    assert all(slot.tensor.shape == shapes[slot.variable or ""] for slot in optimizer.slots)
    assert {slot.role for slot in optimizer.slots} == {Role.FIRST_MOMENT, Role.SECOND_MOMENT}
    assert all(slot.mapping == "name" for slot in optimizer.slots)
    assert not optimizer.missing
    assert artifact_status(state) is Status.COMPLETE
    assert state.counters == {"save_counter": 1}


@pytest.mark.parametrize("build", [legacy, keras2, keras3])
def test_never_stepped(read: Read, build: Callable[..., Node]) -> None:
    """State that was made and never used is fresh, in every generation."""
    net = model()
    state = read(tracked(model=net, optimizer=build(variables(net), iterations=0)))
    assert len(state.optimizers[0].slots) == 8
    assert artifact_status(state) is Status.FRESH


@pytest.mark.parametrize("build", [each[0] for each in GENERATIONS])
def test_the_names_of_attributes_mean_nothing(read: Read, build: Build) -> None:
    """An optimizer is known by its children, wherever it hangs."""
    net = model()
    state = read(tracked(net=net, things=tracked(helper=build(variables(net)))))
    (optimizer,) = state.optimizers
    assert (optimizer.name, optimizer.iterations, len(optimizer.slots)) == ("things/helper", 7, 8)


@pytest.mark.parametrize(
    ("slots", "scalars", "class_name", "roles"),
    [
        (["m", "v", "vhat"], ["learning_rate", "decay", "beta_1", "beta_2"], "Adam", {Role.MAX_SECOND_MOMENT}),
        (["momentum"], ["learning_rate", "decay", "momentum"], "SGD", {Role.MOMENTUM}),
        (["rms"], ["learning_rate", "decay", "rho", "momentum"], "RMSprop", {Role.MEAN_SQUARE}),
        (["rms", "mg"], ["learning_rate", "decay", "rho", "momentum"], "RMSprop", {Role.MEAN_GRADIENT}),
        (["accumulator"], ["learning_rate", "decay"], "Adagrad", {Role.ACCUMULATOR}),
        (["accum_grad", "accum_var"], ["learning_rate", "decay", "rho"], "Adadelta", {Role.ACCUMULATED_UPDATE}),
    ],
)
def test_legacy_classes(read: Read, slots: list[str], scalars: list[str], class_name: str, roles: set[Role]) -> None:
    """The classes of OptimizerV2 are inferred from slots and scalars, and said to be."""
    net = model()
    optimizer = legacy(variables(net), slots=slots, scalars=dict.fromkeys(scalars, 0.5), name="opt")
    (found,) = read(tracked(model=net, optimizer=optimizer)).optimizers
    assert (found.class_name, found.class_inferred) == (class_name, True)
    assert roles <= {slot.role for slot in found.slots}
    assert optimizer_status(found) is Status.COMPLETE


def test_candidates(read: Read) -> None:
    """Slots that several classes keep name the most common, and the others as candidates."""
    net = model()
    optimizer = keras2(variables(net), name="mine")
    (found,) = read(tracked(model=net, optimizer=optimizer)).optimizers
    assert (found.class_name, "AdamW" in found.class_candidates) == ("Adam", True)


@pytest.mark.parametrize("iterations", [-3, 2**62])
def test_odd_counts(read: Read, iterations: int) -> None:
    """A count is reported as stored, however odd."""
    net = model()
    (found,) = read(tracked(m=net, o=legacy(variables(net), iterations=iterations))).optimizers
    assert found.iterations == iterations


# ------------------------------------------------------------------------------------------------------ what is missing


@pytest.mark.parametrize("build", [each[0] for each in GENERATIONS])
def test_a_slot_that_was_not_stored(read: Read, build: Build) -> None:
    """A slot that the graph names and the bundle lacks is missing, by name and variable."""
    net = model()
    optimizer = build(variables(net))
    lost = optimizer.slots[0][2] if optimizer.slots else _list_item(optimizer, 0)
    lost.stored = False
    state = read(tracked(model=net, optimizer=optimizer))
    (found,) = state.optimizers
    kind = "m" if found.generation in {Generation.OPTIMIZER_V2, Generation.KERAS2} else "momentum"
    assert _missing(found) == {(kind, "hidden/kernel")}
    assert artifact_status(state) is Status.PARTIAL


def _list_item(optimizer: Node, number: int) -> Node:
    """The slot of the first kind of the numbered variable, in `_variables`."""
    variables_list = optimizer.children["_variables"].children
    first = 2 if "_trainable_variables" in optimizer.children else 1
    return variables_list[str(first + 2 * number)]


def test_a_variable_without_slots(read: Read) -> None:
    """A variable of a trained layer that has no slots is missing them; a layer without any is another's affair."""
    net = model()
    state = read(
        tracked(model=net, optimizer=legacy([each for each in variables(net) if each.full_name != "out/bias"]))
    )
    assert _missing(state.optimizers[0]) == {("m", "out/bias"), ("v", "out/bias")}
    assert artifact_status(state) is Status.PARTIAL


def test_one_kind_missing(read: Read) -> None:
    """A variable that has one kind of slot and lacks the other is missing that one."""
    net = model()
    optimizer = legacy(variables(net))
    optimizer.slots = [link for link in optimizer.slots if (link[1], link[0].full_name) != ("v", "hidden/kernel")]
    assert _missing(read(tracked(model=net, optimizer=optimizer)).optimizers[0]) == {("v", "hidden/kernel")}


@pytest.mark.parametrize("build", [each[0] for each in GENERATIONS])
def test_frozen_layers(read: Read, build: Build) -> None:
    """Layers that the optimizer does not train, and moving statistics, are missing nothing."""
    net = model({"base/kernel": (2, 2), "bn/moving_mean": (2,), "bn/gamma": (2,), "head/kernel": (2, 1)})
    trained = [each for each in variables(net) if each.full_name in {"bn/gamma", "head/kernel"}]
    state = read(tracked(model=net, optimizer=build(trained)))
    assert not state.optimizers[0].missing
    assert artifact_status(state) is Status.COMPLETE
    flags = {each.path: each.trainable for each in state.variables}
    assert flags["bn/moving_mean"] is False
    assert flags["head/kernel"] is not False


def test_a_legacy_optimizer_alone(read: Read) -> None:
    """`Checkpoint(optimizer=opt)` keeps the count and silently no slots: that is partial, not complete."""
    state = read(tracked(optimizer=legacy(variables(model()))))
    (found,) = state.optimizers
    assert (found.iterations, found.slots) == (7, ())
    assert artifact_status(state) is Status.PARTIAL


def test_a_rewritten_optimizer_alone(read: Read) -> None:
    """Its slots still name their variables, which are not here: known by name, without a place."""
    state = read(tracked(optimizer=keras2(variables(model()))))
    assert _slots(state.optimizers[0]) == {"m": NAMES, "v": NAMES}
    assert [(each.path, each.tensor.location) for each in state.variables] == [(name, None) for name in NAMES]


def test_a_keras3_optimizer_alone(read: Read) -> None:
    """Keras 3's optimizer brings its model's weights along: they are weights, not state."""
    state = read(tracked(optimizer=keras3(variables(model()))))
    assert [each.path for each in state.variables] == NAMES
    assert all(each.tensor.key.startswith("optimizer/_trainable_variables/") for each in state.variables)
    assert len(state.optimizers[0].slots) == 8
    assert artifact_status(state) is Status.COMPLETE


def test_weights_only(read: Read) -> None:
    """A model alone has no optimizer."""
    state = read(model())
    assert state.optimizers == ()
    assert artifact_status(state) is Status.ABSENT


def test_a_legacy_optimizer_without_variables(read: Read) -> None:
    """A legacy optimizer that never stepped leaves an empty node: known, without a count, not 0."""
    state = read(tracked(model=model(), optimizer=Node()))
    (found,) = state.optimizers
    assert (found.iterations, found.slots, optimizer_status(found)) == (None, (), Status.ABSENT)


def test_no_count(read: Read) -> None:
    """Slots without a count: iterations are none, and the state is partial."""
    net = model()
    optimizer = legacy(variables(net))
    optimizer.children["iter"].stored = False
    state = read(tracked(model=net, optimizer=optimizer))
    assert (state.optimizers[0].iterations, artifact_status(state)) == (None, Status.PARTIAL)


def test_a_tf1_optimizer(read: Read) -> None:
    """A TF1 Adam in an object graph: linked slots, no count, one that follows from its beta powers."""
    net = model()
    (found,) = read(tracked(model=net, optimizer=tf1(variables(net)))).optimizers
    assert (found.class_name, found.generation, found.iterations) == ("Adam", Generation.TF1, None)
    assert found.recoverable is not None
    assert found.recoverable.value == 7
    assert _slots(found) == {"m": NAMES, "v": NAMES}


# ------------------------------------------------------------------------------------------------- several, and wrapped


@pytest.mark.parametrize(("build", "generation", "kinds"), GENERATIONS)
def test_a_gan(read: Read, build: Build, generation: Generation, kinds: tuple[str, str]) -> None:
    """Two models whose layers have the same names, each with its own optimizer: no slot goes to the other's."""
    shapes = {"d1/kernel": (2, 3), "d1/bias": (3,)}
    generator, discriminator = model(shapes), model(shapes)
    root = tracked(
        generator=generator,
        discriminator=discriminator,
        generator_optimizer=build(variables(generator)),
        discriminator_optimizer=build(variables(discriminator)),
    )
    state = read(root)
    assert {each.name: sorted({str(slot.variable) for slot in each.slots}) for each in state.optimizers} == {
        f"{name}_optimizer": [f"{name}/d1/bias", f"{name}/d1/kernel"] for name in ("discriminator", "generator")
    }
    assert all((each.generation, set(_slots(each))) == (generation, set(kinds)) for each in state.optimizers)


@pytest.mark.parametrize(
    ("generators", "discriminators", "told"),
    [
        ("gen_opt", "disc_opt", True),
        ("opt_g", "opt_d", True),
        ("mygeneratoroptimizer", "mydiscriminatoroptimizer", True),
        ("first", "second", False),
    ],
)
def test_whose_optimizer(read: Read, generators: str, discriminators: str, *, told: bool) -> None:
    """Where only an optimizer's attribute can tell whose it is, it does; where it does not, nothing is guessed."""
    one, other = model({"d1/kernel": (2, 3)}), model({"d1/kernel": (2, 3)})
    root = tracked(generator=one, discriminator=other)
    root.children |= {generators: keras2(variables(one)), discriminators: keras2(variables(other))}
    found = {each.name: {slot.variable for slot in each.slots} for each in read(root).optimizers}
    assert found[generators] == ({"generator/d1/kernel"} if told else {None})
    assert found[discriminators] == ({"discriminator/d1/kernel"} if told else {None})


@pytest.mark.parametrize("build", [legacy, keras2, keras3])
def test_the_worst_counts(read: Read, build: Callable[..., Node]) -> None:
    """Of several optimizers the worst decides the artifact's status; each has its own."""
    one, other = model({"a/kernel": (2,)}), model({"b/kernel": (3,)})
    state = read(
        tracked(one=one, other=other, opt_a=build(variables(one)), opt_b=build(variables(other), iterations=0))
    )
    assert {each.name: optimizer_status(each) for each in state.optimizers} == {
        "opt_a": Status.COMPLETE,
        "opt_b": Status.FRESH,
    }
    assert artifact_status(state) is Status.FRESH


@pytest.mark.parametrize("build", [legacy, keras2])
def test_loss_scale_of_keras_2(read: Read, build: Build) -> None:
    """A LossScaleOptimizer of Keras 2 keeps everything on its own node: one optimizer, in a wrapper."""
    net = model()
    optimizer = build(variables(net))
    optimizer.children["loss_scale"] = tracked(
        current_loss_scale=variable(32768.0, "current_loss_scale"), good_steps=variable(array(7, "int64"), "good_steps")
    )
    optimizer.children["base_optimizer"] = Node()
    (found,) = read(tracked(model=net, optimizer=optimizer)).optimizers
    assert (found.class_name, found.iterations, len(found.slots)) == ("Adam", 7, 8)
    assert found.wrapper is not None
    assert (found.wrapper.class_name, found.wrapper.loss_scale) == ("LossScaleOptimizer", 32768.0)
    assert "good_steps" in {each.name for each in found.wrapper.variables}


def test_loss_scale_of_keras_3(read: Read) -> None:
    """Keras 3's LossScaleOptimizer has a count of its own, which stays 0: the inner one's counts."""
    net = model()
    outer = keras3([], iterations=0, name="loss_scale_optimizer")
    outer.children["_trainable_variables"] = listed(variables(net))
    outer.children |= {
        "step_counter": variable(array(7, "int64"), "step_counter"),
        "dynamic_scale": variable(1024.0, "dynamic_scale"),
        "inner_optimizer": keras3(variables(net)),
    }
    (found,) = read(tracked(model=net, optimizer=outer)).optimizers
    assert (found.name, found.class_name, found.iterations) == ("optimizer", "Adam", 7)
    assert len(found.slots) == 8
    assert found.wrapper is not None
    assert found.wrapper.loss_scale == 1024.0


# --------------------------------------------------------------------------------------------------------- other things
def test_ema_and_schedule(read: Read) -> None:
    """Moving averages are slots of their own role; an optimizer with a schedule has no rate of its own."""
    net = model()
    lists = {"_model_variables_moving_average": "average", "_momentums": "m", "_velocities": "v"}
    optimizer = keras2(variables(net), lists=lists)
    del optimizer.children["_learning_rate"]
    (found,) = read(tracked(model=net, optimizer=optimizer)).optimizers
    assert _slots(found) == {"average": NAMES, "m": NAMES, "v": NAMES}
    assert {slot.role for slot in found.slots if slot.name == "average"} == {Role.MOVING_AVERAGE}
    assert "learning_rate" not in found.hyperparameters


def test_a_key_that_the_bundle_lacks(read: Read) -> None:
    """A model variable whose value was not stored is left out, and breaks nothing."""
    net = model()
    variables(net)[0].stored = False
    state = read(tracked(model=net, optimizer=legacy(variables(net))))
    assert [each.path for each in state.variables] == NAMES[1:]
    orphans = [slot for slot in state.optimizers[0].slots if slot.variable is None]
    assert [slot.name for slot in orphans] == ["m", "v"]


def test_a_count_of_another_save(tmp_path: Path) -> None:
    """A count whose bytes are not those of the index is an error, never a number."""
    net = model()
    prefix = write_objects(tmp_path / "p", tracked(optimizer=legacy(variables(net)), model=net))
    path = Path(f"{prefix}.data-00000-of-00001")
    data = bytearray(path.read_bytes())
    at = data.index((7).to_bytes(8, "little"))
    data[at] = 9
    path.write_bytes(data)
    with pytest.raises(UnreadableArtifact, match=r"the checksum of 'optimizer/iter/.ATTRIBUTES/VARIABLE_VALUE'"):
        tf_checkpoint.read(prefix)


@pytest.mark.parametrize("count", [float("nan"), float("inf"), 7.5])
def test_a_count_that_is_none(read: Read, count: float) -> None:
    """A count that is no whole number is no count."""
    net = model()
    optimizer = legacy(variables(net))
    optimizer.children["iter"] = variable(count, "Adam/iter")
    (found,) = read(tracked(model=net, optimizer=optimizer)).optimizers
    assert (found.iterations, found.iterations_key) == (None, None)


def test_more_kinds_of_slots_than_any_optimizer_has(read: Read) -> None:
    """Each variable would lack most of ten thousand kinds: what is missing would fill the memory."""
    net = model({f"layer_{number}/kernel": (1,) for number in range(200)})
    optimizer = legacy(())
    slots = [(each, f"slot_{number}", variable([0.5])) for number, each in enumerate(variables(net))]
    optimizer.slots.extend(slots)
    with pytest.raises(LimitExceeded, match="links slots of 200 kinds"):
        read(tracked(model=net, optimizer=optimizer))


def test_optimizers_that_share_their_lists(read: Read) -> None:
    """A thousand optimizers of the same thousand variables are a million to read, out of a small file."""
    net = model({f"layer_{number}/kernel": (1,) for number in range(500)})
    one = keras2(variables(net))
    many = {f"optimizer_{number}": Node(dict(one.children)) for number in range(500)}
    with pytest.raises(LimitExceeded, match="500 optimizers share their variables"):
        read(tracked(model=net, **many))
