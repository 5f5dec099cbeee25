"""Guards in programs of PyTorch: what is lost without a word is told before a step; what was restored passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.pytorch.resuming import halving, net, parameters, program, refusal, resumed, saved, torch, trained

from ckptdoctor.errors import NoSuchPath, UnreadableArtifact, UsageProblem
from ckptdoctor.guard import assert_resumed


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("Adam", {}), ("Adam", {"amsgrad": True}), ("AdamW", {}), ("SGD", {"momentum": 0.9}), ("RMSprop", {}),
        ("Adagrad", {}), ("Adadelta", {}), ("Adamax", {}), ("NAdam", {}), ("RAdam", {}), ("ASGD", {}), ("Rprop", {}),
        ("Adafactor", {}),
    ],
)  # fmt: skip
def test_what_was_restored(tmp_path: Path, kind: str, settings: dict[str, Any]) -> None:
    """Every class passes with values compared, and nothing of it is changed."""
    path = saved(tmp_path / "a.pt", kind=kind, **settings)
    model, optimizer, scheduler = resumed(path, kind=kind, **settings)
    before = repr(optimizer.state_dict())
    found = assert_resumed(optimizer, path, model=model, scheduler=scheduler)
    assert found.iterations == (None if kind == "SGD" else 7,)
    assert found.slots == 4
    assert repr(optimizer.state_dict()) == before


def test_without_state_to_lose(tmp_path: Path) -> None:
    """SGD without momentum keeps nothing: its rate and its scheduler are compared."""
    path = saved(tmp_path / "a.pt", kind="SGD")
    model, optimizer, scheduler = resumed(path, kind="SGD")
    assert assert_resumed(optimizer, path, model=model, scheduler=scheduler).slots == 0
    model, optimizer, scheduler = program(kind="SGD")
    assert len(refusal(optimizer, path, scheduler=scheduler).lost) == 2


def test_gradients_that_accumulate(tmp_path: Path) -> None:
    """Steps of the optimizer count, not batches."""
    model, optimizer, scheduler = program()
    trained(model, optimizer, scheduler, steps=3, accumulate=4)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    torch.save(state, tmp_path / "a.pt")
    model, optimizer, scheduler = resumed(tmp_path / "a.pt")
    assert assert_resumed(optimizer, tmp_path / "a.pt", model=model, scheduler=scheduler).iterations == (3,)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_another_type(tmp_path: Path, dtype: str) -> None:
    """load_state_dict casts slots to the type of their parameter: they are compared in that."""
    path = saved(tmp_path / "a.pt")
    model = net().to(getattr(torch, dtype))
    optimizer = torch.optim.Adam(parameters(model), lr=0.01)
    optimizer.load_state_dict(torch.load(path, weights_only=True)["optimizer"])
    assert assert_resumed(optimizer, path, model=model, slots=None).slots == 8
    next(iter(optimizer.state.values()))["exp_avg"].mul_(1.01)
    assert refusal(optimizer, path, slots=None).lost[0].startswith("exp_avg of a.weight has the norm ")


def test_nothing_was_loaded(tmp_path: Path) -> None:
    """The file is sound: the usual cause is told."""
    path = saved(tmp_path / "a.pt")
    model, optimizer, scheduler = program()
    found = refusal(optimizer, path, model=model, scheduler=scheduler)
    assert found.lost[0] == "Adam has no state here, and 8 slots there"
    assert "optimizer.load_state_dict was not called" in str(found)
    assert found.exit_code == 1
    assert found.path == str(path)


def test_text_indices(tmp_path: Path) -> None:
    """load_state_dict drops state under text without a word: the finding tells how to mend it."""
    path = saved(tmp_path / "a.pt")
    state = torch.load(path, weights_only=True)
    state["optimizer"]["state"] = {str(number): each for number, each in state["optimizer"]["state"].items()}
    torch.save(state, path)
    model, optimizer, scheduler = resumed(path)
    found = refusal(optimizer, path, model=model, scheduler=scheduler)
    assert found.codes == ("S017",)
    assert f"ckptdoctor repair {path} " in str(found)
    assert "the usual cause" not in str(found)


def test_a_scheduler_that_was_not_loaded(tmp_path: Path) -> None:
    """It stands at its beginning, though the rate is right for one step more."""
    path = saved(tmp_path / "a.pt")
    model, optimizer, scheduler = program()
    optimizer.load_state_dict(torch.load(path, weights_only=True)["optimizer"])
    found = refusal(optimizer, path, model=model, scheduler=scheduler)
    assert found.lost == ("LambdaLR stands at 0 here, and at 7 there",)
    assert "scheduler.load_state_dict was not called" in str(found)


def test_a_scheduler_that_is_not_in_the_file(tmp_path: Path) -> None:
    """The groups tell that there was one: S013. A run that never had one may begin to have one."""
    path = saved(tmp_path / "a.pt", "scheduler")
    _, optimizer, scheduler = resumed(path)
    found = refusal(optimizer, path, scheduler=scheduler)
    assert found.codes == ("S013",)
    assert found.lost == ("LambdaLR begins anew here, and its state is not there",)
    assert assert_resumed(optimizer, path).slots == 4
    model = net()
    optimizer = torch.optim.Adam(parameters(model), lr=0.01)
    trained(model, optimizer)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    assert assert_resumed(optimizer, path, scheduler=halving(optimizer)).iterations == (7,)


def test_a_scheduler_that_was_made_too_late(tmp_path: Path) -> None:
    """LambdaLR sets the rate back where it is made, and load_state_dict does not undo that."""
    path = saved(tmp_path / "a.pt")
    model, optimizer, _ = resumed(path)
    scheduler = halving(optimizer)
    scheduler.load_state_dict(torch.load(path, weights_only=True)["scheduler"])
    found = refusal(optimizer, path, model=model, scheduler=scheduler)
    assert found.lost == ("the learning rate is 0.01 here, and 7.8125e-05 there",)
    assert "make it before" in str(found)
    assert assert_resumed(optimizer, path, scheduler=scheduler, learning_rate=False).slots == 4


def test_an_exchanged_order_that_is_proven(tmp_path: Path) -> None:
    """The file names its parameters: by the model's names, another order is found."""
    path = saved(tmp_path / "a.pt", named=True)
    if "param_names" not in torch.load(path, weights_only=True)["optimizer"]["param_groups"][0]:
        pytest.skip("this torch stores no names")
    model, optimizer, scheduler = resumed(path, "ba", named=True)
    found = refusal(optimizer, path, model=model, scheduler=scheduler)
    assert "exp_avg of a.weight went to b.weight, which has its place here" in found.lost
    assert "in the order in which they were saved" in str(found)
    model, optimizer, scheduler = resumed(path, "ab", named=True)
    assert assert_resumed(optimizer, path, model=model, scheduler=scheduler).slots == 4


@pytest.mark.parametrize("slots", [1, None])
def test_an_exchanged_order_by_the_model(tmp_path: Path, slots: int | None) -> None:
    """Without names the model's order stands for the file's, and the message says so; without a model nothing tells."""
    path = saved(tmp_path / "a.pt")
    model, optimizer, scheduler = resumed(path, "ba")
    found = refusal(optimizer, path, model=model, scheduler=scheduler, slots=slots)
    assert found.lost[0] == "exp_avg of a.weight went to b.weight, which has its place here"
    assert found.codes == ("S010",)
    assert "leave model= out" in str(found)
    assert assert_resumed(optimizer, path, scheduler=scheduler, slots=slots).iterations == (7,)


@pytest.mark.parametrize("wrapped", ["module.", "_orig_mod."])
def test_names_of_wrappers(tmp_path: Path, wrapped: str) -> None:
    """What DistributedDataParallel and torch.compile put before names is no other name."""
    path = saved(tmp_path / "a.pt")
    model, optimizer, scheduler = resumed(path, "ba")
    holder = torch.nn.ModuleDict({wrapped.strip("."): model})
    assert "went to b.weight" in refusal(optimizer, path, model=holder, scheduler=scheduler).lost[0]
    model, optimizer, scheduler = resumed(path)
    holder = torch.nn.ModuleDict({wrapped.strip("."): model})
    assert assert_resumed(optimizer, path, model=holder, scheduler=scheduler).slots == 4


def test_names_under_another_root(tmp_path: Path) -> None:
    """A file that has them under a longer name, as Lightning's `net.a.weight`: the end of a name tells."""
    path = saved(tmp_path / "a.pt", named=True)
    state = torch.load(path, weights_only=True)
    if "param_names" not in state["optimizer"]["param_groups"][0]:
        pytest.skip("this torch stores no names")
    group = state["optimizer"]["param_groups"][0]
    group["param_names"] = [f"net.{name}" for name in group["param_names"]]
    state["model"] = {f"net.{name}": each for name, each in state["model"].items()}
    torch.save(state, path)
    for order in ("ab", "ba"):
        model, optimizer, scheduler = program(order)
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        if order == "ab":
            assert assert_resumed(optimizer, path, model=model, scheduler=scheduler).slots == 4
        else:
            assert "went to b.weight" in refusal(optimizer, path, model=model, scheduler=scheduler).lost[0]


def test_another_checkpoint_of_the_run(tmp_path: Path) -> None:
    """Another count, and other values."""
    path = saved(tmp_path / "a.pt")
    model, optimizer, scheduler = resumed(path)
    trained(model, optimizer, scheduler, steps=2)
    found = refusal(optimizer, path, model=model, scheduler=scheduler)
    assert found.lost[0] == "Adam has taken 9 steps here, and 7 there"
    assert any(each.startswith("exp_avg of a.weight has the norm ") for each in found.lost)


def test_parts_of_the_state(tmp_path: Path) -> None:
    """A parameter whose state is not here is named; one that has none in the file either is not missed."""
    path = saved(tmp_path / "a.pt")
    model, optimizer, scheduler = resumed(path)
    del optimizer.state[model["a"].bias]
    found = refusal(optimizer, path, scheduler=scheduler)
    assert found.lost == ("2 of 8 slots are not here: exp_avg of a.bias, exp_avg_sq of a.bias",)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    assert assert_resumed(optimizer, path, model=model).slots == 3


def test_weights_alone(tmp_path: Path) -> None:
    """A file without state says so; allow_fresh lets it pass."""
    path = saved(tmp_path / "a.pt", "optimizer", "scheduler")
    _, optimizer, _ = program()
    found = refusal(optimizer, path)
    assert found.codes == ("S001",)
    assert "allow_fresh=True" in str(found)
    assert assert_resumed(optimizer, path, allow_fresh=True) == (str(path), (), 0)


def test_bad_inputs(tmp_path: Path) -> None:
    """A path with nothing at it, a file that is none, a negative number, a model that is none, another framework."""
    path = saved(tmp_path / "a.pt")
    _, optimizer, _ = resumed(path)
    with pytest.raises(NoSuchPath):
        assert_resumed(optimizer, tmp_path / "not.pt")
    (tmp_path / "cut.pt").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UnreadableArtifact):
        assert_resumed(optimizer, tmp_path / "cut.pt")
    with pytest.raises(UsageProblem, match="slots is -1"):
        assert_resumed(optimizer, path, slots=-1)
    with pytest.raises(UsageProblem, match="model= is int"):
        assert_resumed(optimizer, path, model=7)
    with pytest.raises(UsageProblem, match="another framework"):
        assert_resumed(optimizer, Path(__file__).parent.parent.parent / "fixtures" / "keras3.keras")


def test_large_slots_are_read_in_part(tmp_path: Path) -> None:
    """Of a slot that is large, the beginning is compared, whatever its rows are."""
    for shape in ((3, 1 << 20), (1 << 21,), (2, 2, 1 << 20)):
        weight = torch.nn.Parameter(torch.zeros(shape))
        optimizer = torch.optim.SGD([weight], lr=0.1, momentum=0.9)
        weight.grad = torch.arange(weight.numel(), dtype=torch.float32).reshape(shape)
        optimizer.step()
        torch.save({"model": {"w": weight.detach()}, "optimizer": optimizer.state_dict()}, tmp_path / "a.pt")
        assert assert_resumed(optimizer, tmp_path / "a.pt").slots == 1
        optimizer.state[weight]["momentum_buffer"].view(-1)[5] = -1e9
        refusal(optimizer, tmp_path / "a.pt")


@pytest.mark.filterwarnings("ignore")
def test_names_in_a_distributed_checkpoint(tmp_path: Path) -> None:
    """State under names is put under names, whatever order the program has; with numbers it went by position."""
    dcp = pytest.importorskip("torch.distributed.checkpoint")
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

    model, optimizer, _ = program()
    trained(model, optimizer)
    weights, moments = get_state_dict(model, optimizer)
    dcp.save({"model": weights, "optimizer": moments}, checkpoint_id=tmp_path / "dcp")
    model, optimizer, _ = program("ba")
    refusal(optimizer, tmp_path / "dcp", model=model)
    weights, moments = get_state_dict(model, optimizer)
    state: dict[str, Any] = {"model": weights, "optimizer": moments}
    dcp.load(state, checkpoint_id=tmp_path / "dcp")
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
    assert assert_resumed(optimizer, tmp_path / "dcp", model=model).slots == 8
    assert assert_resumed(optimizer, tmp_path / "dcp").slots == 4
    optimizer.state[model["a"].weight]["exp_avg"].zero_()
    assert refusal(optimizer, tmp_path / "dcp").lost[0].startswith("exp_avg of a.weight has the norm ")
