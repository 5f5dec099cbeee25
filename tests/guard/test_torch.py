"""Guards in programs of PyTorch: what is lost without a word is told before a step; what was restored passes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ckptdoctor.errors import NoSuchPath, NotResumed, UnreadableArtifact, UsageProblem
from ckptdoctor.guard import assert_resumed

torch: Any = pytest.importorskip("torch", exc_type=ImportError)


def net() -> Any:
    """Two layers of one shape: their moments could be exchanged, and nothing would fail."""
    torch.manual_seed(0)
    return torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3)})


def parameters(model: Any, order: str = "ab", *, named: bool = False) -> list[Any]:
    """Those of the layers in some order."""
    found = [(f"{each}.{name}", one) for each in order for name, one in model[each].named_parameters()]
    return found if named else [one for _, one in found]


def halving(optimizer: Any) -> Any:
    """A schedule of a function, which no file holds."""
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)


def program(order: str = "ab", *, kind: str = "Adam", named: bool = False, **settings: Any) -> tuple[Any, Any, Any]:
    """Model, optimizer, scheduler, as the program makes them."""
    model = net()
    optimizer = getattr(torch.optim, kind)(parameters(model, order, named=named), lr=0.01, **settings)
    return model, optimizer, halving(optimizer)


def trained(model: Any, optimizer: Any, scheduler: Any = None, steps: int = 7, accumulate: int = 1) -> None:
    """Some steps."""
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for _ in range(accumulate):
            model["b"](model["a"](torch.randn(4, 3, generator=generator)).tanh()).pow(2).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        if scheduler is not None:
            scheduler.step()


def saved(path: Path, *without: str, **settings: Any) -> Path:
    """A file of a run of seven steps."""
    model, optimizer, scheduler = program(**settings)
    trained(model, optimizer, scheduler)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    torch.save({name: each for name, each in state.items() if name not in without}, path)
    return path


def resumed(path: Path, order: str = "ab", **settings: Any) -> tuple[Any, Any, Any]:
    """A program that loads all that the file has."""
    made = program(order, **settings)
    state = torch.load(path, weights_only=True)
    for one, name in zip(made, ("model", "optimizer", "scheduler"), strict=True):
        if name in state:
            one.load_state_dict(state[name])
    return made


def refusal(live: Any, path: Path, **options: Any) -> NotResumed:
    """The error of a guard that has to refuse."""
    with pytest.raises(NotResumed) as raised:
        assert_resumed(live, path, **options)
    assert f"ckptdoctor recipe {path}" in str(raised.value)
    return raised.value


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
    assert "int(k): v for k, v in" in str(found)
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


@pytest.fixture
def several(tmp_path: Path) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """A file with two optimizers, as a GAN has; the optimizers after they were loaded, and their models."""
    made = {"gen": program(), "disc": program(kind="SGD", momentum=0.9)}
    state: dict[str, Any] = {}
    for name, (model, optimizer, scheduler) in made.items():
        trained(model, optimizer, scheduler, steps=3 if name == "gen" else 5)
        state |= {name: model.state_dict(), f"opt_{name}": optimizer.state_dict()}
    torch.save(state, tmp_path / "gan.pt")
    optimizers = {f"opt_{name}": optimizer for name, (_, optimizer, _) in made.items()}
    return tmp_path / "gan.pt", optimizers, {name: model for name, (model, *_) in made.items()}


def test_several_by_name(several: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    """By the artifact's names, in any order, one of them alone too."""
    path, optimizers, models = several
    assert assert_resumed(optimizers, path, model=models).slots == 8
    assert assert_resumed(dict(reversed(optimizers.items())), path, model=models).iterations == (None, 3)
    assert assert_resumed({"gen": optimizers["opt_gen"]}, path).iterations == (3,)
    assert len(refusal({"opt_gen": optimizers["opt_disc"]}, path).lost) > 1


def test_several_in_order(several: tuple[Path, dict[str, Any], dict[str, Any]]) -> None:
    """In the artifact's order: a list in another order is told, and one that is too long."""
    path, optimizers, _ = several
    listed = list(optimizers.values())
    assert assert_resumed(listed, path).slots == 8
    refusal(listed[::-1], path)
    _, another, _ = program()
    assert "3 optimizers are here, and the state of 2 optimizers there" in refusal([*listed, another], path).lost


@pytest.mark.parametrize(
    ("live", "sentence"),
    [
        ("gen", "has 2 optimizers: name yours, as {name: optimizer}, of 'opt_gen', 'opt_disc'"),
        ({"opt_other": "gen"}, "has no optimizer 'opt_other': it has opt_gen, opt_disc"),
        ([], "no optimizer is given"),
        (7, "int is no optimizer"),
    ],
)
def test_which_one_is_meant(several: tuple[Path, dict[str, Any], dict[str, Any]], live: Any, sentence: str) -> None:
    """One sentence where it cannot be told."""
    path, optimizers, _ = several
    if live == "gen":
        live = optimizers["opt_gen"]
    elif isinstance(live, Mapping):
        live = dict.fromkeys(live, optimizers["opt_gen"])
    with pytest.raises(UsageProblem, match=sentence.replace("{", r"\{").replace("}", r"\}")):
        assert_resumed(live, path)


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
