"""Name-based checkpoints: which name is a slot, of what, and by which optimizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.bundles import Tensor, array, split, strings, write_bundle, write_v1, zeros

from ckptdoctor.diagnosis.status import artifact_status, optimizer_status
from ckptdoctor.formats.tensorflow import checkpoint as tf_checkpoint
from ckptdoctor.optimizers import inference
from ckptdoctor.state import Format, Generation, OptimizerState, Producer, Role, Status, TrainingState

KERNEL, BIAS = (3, 4), (4,)
MODEL = {"net/d1/kernel": zeros(KERNEL), "net/d1/bias": zeros(BIAS)}
POWERS = {"beta1_power": array(0.9**8), "beta2_power": array(0.999**8)}
STEP = {"global_step": array(7, "int64")}


def _read(tmp_path: Path, tensors: dict[str, Tensor]) -> TrainingState:
    return tf_checkpoint.read(write_bundle(tmp_path / "model.ckpt-7", tensors))


def _with_slots(*suffixes: str, scope: str = "") -> dict[str, Tensor]:
    slots = {f"{scope}{name}/{suffix}": tensor for name, tensor in MODEL.items() for suffix in suffixes}
    return {**MODEL, **slots}


def _kinds(optimizer: OptimizerState) -> dict[str, set[str | None]]:
    found: dict[str, set[str | None]] = {}
    for slot in optimizer.slots:
        found.setdefault(slot.name, set()).add(slot.variable)
    return found


@pytest.mark.parametrize(
    ("suffixes", "more", "class_name", "kinds"),
    [
        (("Adam", "Adam_1"), POWERS, "Adam", ["m", "v"]),
        (("Momentum",), {}, "SGD", ["momentum"]),
        (("RMSProp", "RMSProp_1"), {}, "RMSprop", ["rms", "momentum"]),
        (("RMSProp", "RMSProp_1", "RMSProp_2"), {}, "RMSprop", ["rms", "mg", "momentum"]),
        (("Adagrad",), {}, "Adagrad", ["accumulator"]),
        (("ProximalAdagrad",), {}, "Adagrad", ["accumulator"]),
        (("Adadelta", "Adadelta_1"), {}, "Adadelta", ["accum", "accum_update"]),
        (("Ftrl", "Ftrl_1"), {}, "Ftrl", ["accum", "linear"]),
        (("adam_m", "adam_v"), {}, "AdamW", ["m", "v"]),
        (("my_opt", "my_opt_1"), POWERS, "Adam", ["m", "v"]),
    ],
)
def test_optimizers(
    tmp_path: Path, suffixes: tuple[str, ...], more: dict[str, Tensor], class_name: str, kinds: list[str]
) -> None:
    """Each TF1 optimizer by its slots' names, in the order in which it made them."""
    state = _read(tmp_path, _with_slots(*suffixes) | more | STEP)
    (found,) = state.optimizers
    assert (found.class_name, found.generation, found.iterations) == (class_name, Generation.TF1, 7)
    assert found.iterations_key == "global_step"
    assert _kinds(found) == {kind: set(MODEL) for kind in kinds}
    assert {each.path for each in state.variables} == set(MODEL)
    assert all(each.trainable for each in state.variables)
    assert artifact_status(state) is Status.COMPLETE


@pytest.mark.parametrize("steps", [0, 1, 7, 100, 500])
def test_steps_from_beta_powers(tmp_path: Path, steps: int) -> None:
    """Without a global step the count is none, but follows from Adam's beta powers, and says from which."""
    powers = {"beta1_power": array(0.9 ** (steps + 1)), "beta2_power": array(0.999 ** (steps + 1))}
    state = _read(tmp_path, _with_slots("Adam", "Adam_1") | powers)
    (found,) = state.optimizers
    assert found.iterations is None
    assert found.recoverable == (steps, "beta2_power")
    # Its powers are all that its update needs, so that training goes on exactly.
    assert artifact_status(state) is (Status.COMPLETE if steps else Status.FRESH)


@pytest.mark.parametrize("betas", [(0.5, 0.999), (0.9, 0.99), (0.5, 0.9), (0.9, 0.9999)])
def test_steps_under_other_betas(betas: tuple[float, float]) -> None:
    """Betas that people set are tried in turn; both powers have to agree on the count."""
    for steps in (1, 7, 35, 90):
        first, second = (float(np.float32(beta ** (steps + 1))) for beta in betas)
        found = inference.steps_from_beta_powers(first, second)
        assert (steps, "beta2_power") == found


def test_powers_that_disagree(tmp_path: Path) -> None:
    """Beta powers of other betas, or of two different counts, answer nothing."""
    powers = {"beta1_power": array(0.9**8), "beta2_power": array(0.999**500)}
    (found,) = _read(tmp_path, _with_slots("Adam", "Adam_1") | powers).optimizers
    assert found.recoverable is None


@pytest.mark.parametrize("scope", ["train/", "tower_0/train/"])
def test_scopes(tmp_path: Path, scope: str) -> None:
    """A variable scope stands before the whole name of a slot."""
    tensors = _with_slots("Adam", "Adam_1", scope=scope) | {f"{scope}{name}": each for name, each in POWERS.items()}
    (found,) = _read(tmp_path, tensors | STEP).optimizers
    assert _kinds(found) == {"m": set(MODEL), "v": set(MODEL)}
    assert len(found.other) == 2


def _powers(steps: int, number: int = 0, scope: str = "") -> dict[str, Tensor]:
    suffix = f"_{number}" if number else ""
    return {f"{scope}beta{k}_power{suffix}": array(beta ** (steps + 1)) for k, beta in ((1, 0.9), (2, 0.999))}


def _of(prefix: str, *suffixes: str) -> dict[str, Tensor]:
    model = {f"{prefix}/{name}": tensor for name, tensor in MODEL.items()}
    return {**model, **{f"{name}/{suffix}": tensor for name, tensor in model.items() for suffix in suffixes}}


def test_two_on_the_same_variables(tmp_path: Path) -> None:
    """Two Adams on the same variables: slots and beta powers follow one another, and each one's count is told."""
    tensors = _with_slots("Adam", "Adam_1", "Adam_2", "Adam_3") | _powers(0) | _powers(7, 1) | STEP
    (found,) = _read(tmp_path, tensors).optimizers
    assert (found.class_name, len(found.slots), len(found.other)) == ("Adam", 8, 4)
    assert set(_kinds(found)) == {"m", "v"}
    assert "2 sets of beta powers" in found.notes[0]
    assert "; Adam, Adam_1 never stepped; Adam_2, Adam_3 at step 7" in found.notes[0]
    assert (found.iterations, optimizer_status(found), found.conflicts) == (7, Status.COMPLETE, ())


@pytest.mark.parametrize(
    ("counts", "agree"),
    [((3, 4), True), ((0, 7), True), ((7, 7), True), ((7, 4), True), ((35, 7), False), ((0, 4), False)],
)
def test_several_counts_and_one_step(tmp_path: Path, counts: tuple[int, int], agree: bool) -> None:  # noqa: FBT001
    """Optimizers that take turns add up to the global step; one that never stepped contradicts nothing."""
    powers = _powers(counts[0]) | _powers(counts[1], 1)
    (found,) = _read(tmp_path, _with_slots("Adam", "Adam_1", "Adam_2", "Adam_3") | powers | STEP).optimizers
    assert (not found.conflicts) is agree


def test_two_that_nothing_tells_apart(tmp_path: Path) -> None:
    """Two Adams of a GAN share the op name; whose beta powers are whose nothing tells, and each set is compared."""
    tensors = _of("d", "Adam", "Adam_1") | _of("g", "Adam", "Adam_1") | _powers(35) | _powers(7, 1) | STEP
    (found,) = _read(tmp_path, tensors).optimizers
    assert (found.class_name, len(found.slots), len(found.other)) == ("Adam", 8, 4)
    assert found.notes[0].endswith("by their powers at step 35, at step 7")
    assert [each.message for each in found.conflicts] == ["global_step is 7, but beta2_power says 35 steps"]


def test_two_with_names_of_their_own(tmp_path: Path) -> None:
    """X, X_1 and a set of beta powers for each: both are Adams, and nothing tells which set is whose."""
    tensors = _of("d", "D", "D_1") | _of("g", "G", "G_1") | _powers(35) | _powers(7, 1) | STEP
    state = _read(tmp_path, tensors)
    assert {each.name: each.class_name for each in state.optimizers} == {"D": "Adam", "G": "Adam"}
    for each in state.optimizers:
        assert (each.other, len(each.shared)) == ((), 4)
        assert [conflict.code for conflict in each.conflicts] == ["V004"]
    # Neither is lost: what belongs to nobody in particular is still listed.
    assert {ref.key for ref in state.others} == {*_powers(0), *_powers(0, 1)}


def test_beta_powers_of_one_among_two_names(tmp_path: Path) -> None:
    """One set of beta powers for two names with two slots each: either is Adam, the other RMSProp or something else."""
    tensors = _of("d", "D", "D_1") | _of("g", "G", "G_1") | POWERS | STEP
    state = _read(tmp_path, tensors)
    assert {each.name: each.class_name for each in state.optimizers} == {"D": None, "G": None}


def test_two_scopes(tmp_path: Path) -> None:
    """A variable scope around each `minimize` tells which slots and which powers belong together."""
    model = _of("a") | _of("b")
    slots = {f"{name[0]}o/{name}/{kind}": each for name, each in model.items() for kind in ("Adam", "Adam_1")}
    tensors = model | slots | _powers(7, scope="ao/") | _powers(3, scope="bo/") | STEP
    state = _read(tmp_path, tensors)
    assert [each.name for each in state.optimizers] == ["ao/Adam", "bo/Adam"]
    assert [len(each.slots) for each in state.optimizers] == [4, 4]
    assert [[power.name for power in each.other] for each in state.optimizers] == [
        ["ao/beta1_power", "ao/beta2_power"], ["bo/beta1_power", "bo/beta2_power"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("suffixes", "name"),
    [
        (("Mom",), None), (("R", "R_1"), None), (("F", "F_1"), None), (("AddSignOptimizer",), "AddSign"),
        (("PowerSignOptimizer",), "PowerSign"), (("LARSOptimizer",), "LARS"), (("MomentumW",), "SGDW"),
    ],
)  # fmt: skip
def test_a_name_is_not_overruled_by_a_layout(tmp_path: Path, suffixes: tuple[str, ...], name: str | None) -> None:
    """One slot or two can be of any class: a name that is not the catalogue's tells none, one that is tells its own."""
    (found,) = _read(tmp_path, _with_slots(*suffixes) | STEP).optimizers
    assert (found.class_name, found.class_candidates) == (name, ())
    assert len(found.slots) == len(suffixes) * len(MODEL)


def test_adamax_keeps_one_power(tmp_path: Path) -> None:
    """AdaMax keeps beta1_power alone; under a name of its own that is what tells it."""
    power = {"beta1_power": POWERS["beta1_power"]}
    for suffix in ("AdaMax", "mine"):
        (found,) = _read(tmp_path, _with_slots(suffix, f"{suffix}_1") | power | STEP).optimizers
        assert (found.class_name, found.class_candidates) == ("Adamax", ())


def test_a_name_of_two_parts(tmp_path: Path) -> None:
    """`AdamOptimizer(name="train/opt")` names its slots so."""
    state = _read(tmp_path, _with_slots("train/opt", "train/opt_1") | POWERS | STEP)
    (found,) = state.optimizers
    assert (found.name, found.class_name, len(found.slots)) == ("train/opt", "Adam", 4)
    assert {each.path for each in state.variables} == set(MODEL)


@pytest.mark.parametrize(
    "scale",
    [
        {"current_loss_scale": array(32768.0), "good_steps": array(7, "int64")},
        {"loss_scale": array(1024.0), "good_steps": array(7, "int32"), "bad_steps": array(0, "int32")},
    ],
)
def test_loss_scale(tmp_path: Path, scale: dict[str, Tensor]) -> None:
    """TensorFlow 1's loss scale is a wrapper's, neither a model variable nor a counter."""
    state = _read(tmp_path, _with_slots("Momentum") | scale | STEP)
    wrapper = state.optimizers[0].wrapper
    assert wrapper is not None
    assert {each.tensor.key for each in wrapper.variables} == set(scale)
    assert wrapper.loss_scale in {32768.0, 1024.0}
    assert {each.path for each in state.variables} == set(MODEL)
    assert state.counters == {"global_step": 7}


def test_other_optimizers_variables_are_not_missing(tmp_path: Path) -> None:
    """What another optimizer trains in the same layer lacks nothing."""
    tensors = {**MODEL, "net/d1/kernel/Adam": zeros(KERNEL), "net/d1/kernel/Adam_1": zeros(KERNEL)}
    state = _read(tmp_path, tensors | {"net/d1/bias/Momentum": zeros(BIAS)} | POWERS | STEP)
    assert not any(each.missing for each in state.optimizers)


def test_two_classes(tmp_path: Path) -> None:
    """A wide-and-deep model: Ftrl on one part, Adagrad on the other."""
    tensors = {
        "linear/w": zeros((5,)), "linear/w/Ftrl": zeros((5,)), "linear/w/Ftrl_1": zeros((5,)),
        "dnn/kernel": zeros(KERNEL), "dnn/kernel/Adagrad": zeros(KERNEL),
    }  # fmt: skip
    state = _read(tmp_path, tensors | STEP)
    assert {each.class_name: _kinds(each) for each in state.optimizers} == {
        "Ftrl": {"accum": {"linear/w"}, "linear": {"linear/w"}},
        "Adagrad": {"accumulator": {"dnn/kernel"}},
    }


@pytest.mark.parametrize(
    ("lost", "missing"),
    [
        ("net/d1/bias/Adam_1", {("v", "net/d1/bias")}),
        ("net/d1/bias/Adam", {("v", "net/d1/bias")}),
    ],
)
def test_a_lost_slot(tmp_path: Path, lost: str, missing: set[tuple[str, str]]) -> None:
    """A variable with fewer slots than its neighbours is missing one."""
    tensors = _with_slots("Adam", "Adam_1") | POWERS | STEP
    del tensors[lost]
    state = _read(tmp_path, tensors)
    assert {(each.name, each.variable) for each in state.optimizers[0].missing} == missing
    assert artifact_status(state) is Status.PARTIAL


def test_a_variable_without_slots(tmp_path: Path) -> None:
    """In a trained layer a variable without slots is missing them; moving statistics are not."""
    tensors = _with_slots("Adam", "Adam_1") | POWERS | STEP
    tensors |= {"net/d1/gamma": zeros(BIAS), "net/d1/moving_mean": zeros(BIAS), "frozen/kernel": zeros(KERNEL)}
    (found,) = _read(tmp_path, tensors).optimizers
    assert {(each.name, each.variable) for each in found.missing} == {("m", "net/d1/gamma"), ("v", "net/d1/gamma")}


def test_a_variable_that_looks_like_a_slot(tmp_path: Path) -> None:
    """A name of two parts whose stem is no variable of that shape is a variable itself."""
    tensors = {"Adam": zeros(KERNEL), "head/Adam": zeros(BIAS), "net/w": zeros(BIAS), "net/w/Adam": zeros(KERNEL)}
    state = _read(tmp_path, tensors)
    assert {each.path for each in state.variables} == set(tensors)
    assert not any(each.slots for each in state.optimizers)


def test_gradient_descent(tmp_path: Path) -> None:
    """Plain gradient descent keeps nothing but the step: there is an optimizer to resume, and no more to lose."""
    state = _read(tmp_path, {**MODEL, **STEP})
    (found,) = state.optimizers
    assert (found.class_name, found.iterations, found.slots) == (None, 7, ())
    assert "gradient descent keeps none" in found.notes[0]
    assert artifact_status(state) is Status.COMPLETE


def test_weights_only(tmp_path: Path) -> None:
    """Variables alone are weights; strings are neither."""
    state = _read(tmp_path, {**MODEL, "labels": strings(b"a", b"b")})
    assert (state.optimizers, artifact_status(state)) == ((), Status.ABSENT)
    assert {each.path for each in state.variables} == set(MODEL)
    assert [each.key for each in state.others] == ["labels"]


def test_moving_averages(tmp_path: Path) -> None:
    """Averages beside an optimizer are slots of it; alone they are told."""
    averages = {f"{name}/ExponentialMovingAverage": tensor for name, tensor in MODEL.items()}
    (found,) = _read(tmp_path, _with_slots("Momentum") | averages | STEP).optimizers
    assert {slot.role for slot in found.slots} == {Role.MOMENTUM, Role.MOVING_AVERAGE}
    assert len(found.slots) == 4
    state = _read(tmp_path, {**MODEL, **averages})
    assert {each.path for each in state.variables} == set(MODEL)
    assert [oddity.code for oddity in state.oddities] == ["S012"]


def test_counters(tmp_path: Path) -> None:
    """Whole-number scalars that count are counters; the global step is the optimizer's."""
    tensors = {
        **_with_slots("Adam", "Adam_1"), **POWERS, **STEP,
        "epoch": array(3, "int32"), "eval/eval_step": array(9, "int64"), "temperature": array(0.5),
    }  # fmt: skip
    state = _read(tmp_path, tensors)
    assert state.counters == {"global_step": 7, "epoch": 3, "eval_step": 9}
    assert state.optimizers[0].iterations == 7
    assert "temperature" in {each.path for each in state.variables}


@pytest.mark.parametrize("others", [["GlobalStep"], ["step", "train_step"], ["a/step", "GlobalStep", "z_step"]])
def test_the_global_step_among_others(tmp_path: Path, others: list[str]) -> None:
    """Of several step counts the global step is the optimizer's, whichever comes first in the index."""
    tensors = _with_slots("Momentum") | STEP | {name: array(99, "int64") for name in others}
    assert _read(tmp_path, tensors).optimizers[0].iterations == 7


def test_a_step_that_is_no_whole_number(tmp_path: Path) -> None:
    """A float called global_step is a variable, not a count."""
    state = _read(tmp_path, _with_slots("Momentum") | {"global_step": array(7.5)})
    assert state.optimizers[0].iterations is None
    assert state.counters == {}


def test_partitioned_variables(tmp_path: Path) -> None:
    """A partitioned variable and its partitioned slots are one variable with its slots."""
    parts = split(KERNEL, (1, 2))
    tensors = {name: zeros(KERNEL)._replace(parts=parts) for name in ("emb", "emb/Adam", "emb/Adam_1")}
    (found,) = _read(tmp_path, tensors | POWERS | STEP).optimizers
    assert _kinds(found) == {"m": {"emb"}, "v": {"emb"}}
    assert all(slot.tensor.shape == KERNEL for slot in found.slots)


def test_v1(tmp_path: Path) -> None:
    """A V1 table is read the same."""
    path = write_v1(tmp_path / "model.ckpt-7", _with_slots("Adam", "Adam_1") | POWERS | STEP)
    state = tf_checkpoint.read_v1_checkpoint(path)
    assert state.format is Format.TF_CHECKPOINT_V1
    assert (state.optimizers[0].class_name, state.optimizers[0].iterations) == ("Adam", 7)
    assert artifact_status(state) is Status.COMPLETE


@pytest.mark.parametrize(
    "name", ["/", "//", "a//Adam", "/Adam", "Adam_1", "x_" + "9" * 400, "a/" + "b/" * 500, "ключ/Adam"]
)
def test_odd_names(tmp_path: Path, name: str) -> None:
    """Any name is read as something; none is lost."""
    state = _read(tmp_path, {name: zeros(BIAS), **MODEL})
    assert name in {each.path for each in state.variables}


def test_the_writer_is_in_the_meta_file(tmp_path: Path) -> None:
    """A Saver's `.meta` file records TensorFlow's version; what is no MetaGraph records nothing."""
    prefix = write_bundle(tmp_path / "model.ckpt-7", {"w": array([1.0])})
    assert tf_checkpoint.read(prefix).producer == Producer()
    meta = tmp_path / "model.ckpt-7.meta"
    meta.write_bytes(b"\x0a\x08\x2a\x061.15.0" + b"\x12\x02\x0a\x00")  # meta_info_def, graph_def
    assert tf_checkpoint.read(prefix).producer == Producer("tensorflow", "1.15.0")
    for damaged in (b"", b"\xff" * 20, b"\x0a\x7f"):
        meta.write_bytes(damaged)
        assert tf_checkpoint.read(prefix).producer == Producer()


def _float(value: float, dtype: str = "float32") -> Tensor:
    return array(value, dtype)


@pytest.mark.parametrize(
    ("powers", "steps", "told"),
    [
        ({"beta1_power": _float(1), "beta2_power": _float(1)}, 7, ["beta1_power is 1", "beta2_power is 1"]),
        ({"beta1_power": _float(0), "beta2_power": _float(0)}, 7, ["beta2_power is 0"]),
        ({"beta1_power": _float(-1), "beta2_power": POWERS["beta2_power"]}, 7, ["beta1_power is -1"]),
        ({"beta1_power": _float(float("nan")), "beta2_power": POWERS["beta2_power"]}, 7, ["beta1_power is nan"]),
        ({"beta1_power": _float(float("inf"), "float64"), "beta2_power": _float(0.5)}, 7, ["beta1_power is inf"]),
        ({"beta1_power": _float(0), "beta2_power": POWERS["beta2_power"]}, 7, []),  # a GAN's beta_1 of 0
        ({"beta1_power": _float(0), "beta2_power": _float(0)}, 900, []),  # both underflowed, with a beta_2 of 0.9
        ({"beta1_power": _float(0), "beta2_power": _float(0, "float64")}, 900, ["beta2_power is 0"]),
        ({"beta1_power": _float(0), "beta2_power": _float(0)}, 10**9, []),
        ({"beta1_power": _float(0.9), "beta2_power": _float(1, "float16")}, 7, []),  # 0.9999 in so few bits
        ({"beta1_power": _float(1), "beta2_power": _float(1)}, 0, []),
        (POWERS, 7, []),
    ],
)
def test_impossible_powers(tmp_path: Path, powers: dict[str, Tensor], steps: int, told: list[str]) -> None:
    """V004: after a step a beta power lies between 0 and 1, unless it has underflowed or been rounded."""
    step = {"global_step": array(steps, "int64")}
    for slots in (_with_slots("Adam", "Adam_1"), MODEL):
        (found,) = _read(tmp_path, slots | powers | step).optimizers
        messages = [each.message for each in found.conflicts if "lies between 0 and 1" in each.message]
        assert [message.partition("but ")[2].partition(":")[0] for message in messages] == told
        assert all(message.startswith(f"global_step is {steps:,}, ") for message in messages)
