"""What programs of every day save with torch: wrapped optimizers, broken settings, statistics, tied weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

import ckptdoctor
from ckptdoctor.diagnosis.status import verdict

torch = pytest.importorskip("torch", exc_type=ImportError)

pytestmark = pytest.mark.filterwarnings("ignore")


def _net() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 3))


def _train(model: Any, optimizer: Any, steps: int = 5) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(6, 4)).square().mean().backward()
        optimizer.step()


class Sam(torch.optim.Optimizer):  # type: ignore[name-defined, misc]
    """As davda54/sam does it: the inner optimizer's state is its own, and `state_dict` does not ask for it."""

    def __init__(self, params: Any, base: Any, rho: float = 0.05, **settings: Any) -> None:
        super().__init__(params, {"rho": rho, "adaptive": False, **settings})
        self.param_groups: list[dict[str, Any]]
        self.base_optimizer = base(self.param_groups, **settings)
        self.param_groups = self.base_optimizer.param_groups

    def step(self) -> None:
        """Keeps the weights, as its first step does, and lets the inner optimizer step."""
        for parameter in (each for group in self.param_groups for each in group["params"]):
            self.state[parameter]["old_p"] = parameter.data.clone()
        self.base_optimizer.step()


def _lookahead(optimizer: Any, *, addresses: bool) -> dict[str, Any]:
    """Lookahead's `state_dict`; torch_optimizer's has addresses in place of numbers."""
    inner = optimizer.state_dict()
    weights = optimizer.param_groups[0]["params"]
    slow = {id(each) if addresses else number: {"slow_buffer": each.data} for number, each in enumerate(weights)}
    return {"fast_state": inner["state"], "slow_state": slow, "param_groups": inner["param_groups"]}


def _inspected(content: Any, folder: Path) -> Any:
    torch.save(content, folder / "checkpoint.pt")
    (found,) = ckptdoctor.inspect(folder / "checkpoint.pt")
    assert found.state is not None
    return found


@pytest.mark.parametrize(
    ("base", "settings", "lost"),
    [
        ("SGD", {"lr": 0.1, "momentum": 0.9}, {"momentum_buffer"}),
        ("SGD", {"lr": 0.1}, set()),
        ("Adam", {"lr": 0.1}, {"exp_avg", "exp_avg_sq"}),
        ("RMSprop", {"lr": 0.1, "momentum": 0.9}, {"square_avg", "momentum_buffer"}),
    ],
)
def test_sam_loses_the_state_inside(base: str, settings: dict[str, float], lost: set[str], tmp_path: Path) -> None:
    """What its inner optimizer had is said to be missing, of every parameter; where it had none, nothing is."""
    model = _net()
    optimizer = Sam(model.parameters(), getattr(torch.optim, base), **settings)
    _train(model, optimizer)
    assert lost == {name for each in optimizer.base_optimizer.state.values() for name in each} - {"step"} - (
        {"momentum_buffer"} - lost
    )
    found = _inspected({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path)
    (held,) = found.state.optimizers
    assert held.class_name == base
    assert {each.name for each in held.missing} == lost
    assert len(held.missing) == 6 * len(lost)
    assert bool(lost) == ("S003" in {each.code for each in found.findings})


@pytest.mark.parametrize("addresses", [False, True])
@pytest.mark.parametrize("base", ["Adam", "RMSprop"])
def test_lookahead(base: str, *, addresses: bool, tmp_path: Path) -> None:
    """Its two states are one optimizer's; what stands under addresses is no weight of the model."""
    model = _net()
    optimizer = getattr(torch.optim, base)(model.parameters())
    _train(model, optimizer)
    content = {"model": model.state_dict(), "optimizer": _lookahead(optimizer, addresses=addresses)}
    found = _inspected(content, tmp_path)
    (held,) = found.state.optimizers
    assert (held.class_name, held.iterations) == (base, 5)
    assert len(found.state.variables) == len(model.state_dict())
    assert ("slow_buffer" in {each.name for each in held.slots}) != addresses
    assert not {"S001", "S003", "S015"} & {each.code for each in found.findings}


NOT_FINITE = [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("lr", value) for value in (*NOT_FINITE, -0.1)),
        *(("betas", (0.9, value)) for value in (math.nan, 1.0, -0.1)),
        *(("eps", value) for value in (math.nan, -1e-8)),
        *(("weight_decay", value) for value in (math.nan, -0.1)),
    ],
)
def test_settings_that_no_constructor_takes(name: str, value: object, tmp_path: Path) -> None:
    """What torch's constructor refuses and `load_state_dict` takes is an error, in one group of two as well."""
    model = _net()
    own: dict[str, Any] = {name: value}
    if name != "lr" or value != math.inf:
        with pytest.raises(ValueError, match="Invalid"):
            torch.optim.Adam(model.parameters(), **own)
    optimizer = torch.optim.Adam([{"params": model[0].parameters()}, {"params": model[2].parameters()}])
    _train(model, optimizer)
    assert "V006" not in {
        each.code for each in _inspected({"m": model.state_dict(), "o": optimizer.state_dict()}, tmp_path).findings
    }
    optimizer.param_groups[1].update(own)
    saved = optimizer.state_dict()
    optimizer.load_state_dict(saved)
    found = _inspected({"m": model.state_dict(), "o": saved}, tmp_path)
    (finding,) = [each for each in found.findings if each.code == "V006"]
    assert f"no constructor takes: {name} " in finding.message


@pytest.mark.parametrize("rate", [0, 0.0, -1e-19, 1e-30, None])
def test_settings_at_the_end_of_a_schedule(rate: float | None, tmp_path: Path) -> None:
    """A rate of 0, or what rounding leaves of it, is honest; and so is none."""
    model = _net()
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    _train(model, optimizer)
    saved = optimizer.state_dict()
    saved["param_groups"][0]["lr"] = rate
    found = _inspected({"m": model.state_dict(), "o": saved}, tmp_path)
    assert "V006" not in {each.code for each in found.findings}


@pytest.mark.parametrize(
    ("scale", "harm"),
    [
        (0.0, "would make every weight NaN"),
        (math.nan, "every step would be skipped"),
        (math.inf, "every step would be skipped"),
        (1.0, None),
    ],
)
def test_scale(scale: float, harm: str | None, tmp_path: Path) -> None:
    """A loss scale with which GradScaler changes no weight, or makes all of them NaN, is an error."""
    model = _net()
    optimizer = torch.optim.SGD(model.parameters())
    scaler = torch.amp.GradScaler("cpu", init_scale=65536.0)
    saved = {**scaler.state_dict(), "scale": scale}
    scaler.load_state_dict(saved)
    before = model[0].weight.clone()
    scaler.scale(model(torch.randn(6, 4)).square().mean()).backward()
    scaler.step(optimizer)
    assert before.equal(model[0].weight) == (harm == "every step would be skipped")
    assert bool(model[0].weight.isnan().all()) == (harm == "would make every weight NaN")
    found = _inspected({"m": model.state_dict(), "o": optimizer.state_dict(), "scaler": saved}, tmp_path)
    said = [each.message for each in found.findings if each.code == "V006"]
    assert bool(said) == bool(harm)
    assert all(str(harm) in each for each in said)


def test_who_is_trained(tmp_path: Path) -> None:
    """Statistics of a batch norm are not trained, tied weights are, and the rest is in no group."""
    model = torch.nn.Sequential(_net(), torch.nn.Linear(3, 3), torch.nn.Linear(3, 3, bias=False))
    model[2].weight = model[1].weight
    optimizer = torch.optim.Adam([*model[0].parameters(), *model[1].parameters()])
    _train(model, optimizer)
    weights = {**model.state_dict(), "head.weight": torch.ones(5, 5)}
    found = _inspected({"model": weights, "optimizer": optimizer.state_dict()}, tmp_path)
    untrained = [each.path.rpartition(".")[2] for each in found.state.variables if each.trainable is False]
    assert sorted(untrained) == ["num_batches_tracked", "running_mean", "running_var"]
    said = verdict(found.state)
    assert said == "resumes at iteration 5 with full Adam state; 1 of 13 variables is in no group of the optimizer"


def test_all_in_one(tmp_path: Path) -> None:
    """LBFGS keeps what it knows of all under the first parameter: the others lack nothing."""
    model, inputs = _net(), torch.randn(6, 4)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = model(inputs).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    found = _inspected({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path)
    assert "S014" not in {each.code for each in found.findings}
    assert verdict(found.state) == "resumes with full LBFGS state; no count is here, and it needs none"


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, 5, "text", None, []])
def test_nothing_in_it(content: object, tmp_path: Path) -> None:
    """A file without any weights is not called one of weights."""
    found = _inspected(content, tmp_path)
    assert "weights only" not in verdict(found.state)
    assert "S001" in {each.code for each in found.findings}


@pytest.mark.parametrize(
    "beside",
    [
        {"losses": [float(each) for each in range(600_000)]},
        {"sampler": list(range(1_000_000))},
        {"vocabulary": {f"w{each}": each for each in range(300_000)}},
    ],
    ids=lambda beside: next(iter(beside)),
)
def test_long_records(beside: dict[str, Any], tmp_path: Path) -> None:
    """What a long run writes out beside its state is read over, and no reason not to read it."""
    model = _net()
    optimizer = torch.optim.Adam(model.parameters())
    _train(model, optimizer)
    found = _inspected({"model": model.state_dict(), "optimizer": optimizer.state_dict(), **beside}, tmp_path)
    assert verdict(found.state) == "resumes at iteration 5 with full Adam state"
