"""Grafts into archives of stable-baselines3, loaded by its algorithms and stepped on: difference 0."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.commands import ckptdoctor

torch = pytest.importorskip("torch", exc_type=ImportError)
baselines = pytest.importorskip("stable_baselines3")
gymnasium = pytest.importorskip("gymnasium")

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]

_OFF_POLICY = {"learning_starts": 10, "buffer_size": 500}
ALGORITHMS: dict[str, tuple[str, dict[str, Any]]] = {
    "PPO": ("CartPole-v1", {"n_steps": 32, "batch_size": 16, "n_epochs": 2}),
    "A2C": ("CartPole-v1", {}),
    "DQN": ("CartPole-v1", _OFF_POLICY),
    "TD3": ("Pendulum-v1", _OFF_POLICY),
    "SAC": ("Pendulum-v1", _OFF_POLICY),  # three optimizers, one of a number beside the policy
}


def stepped(algorithm: Any) -> dict[str, Any]:
    """The weights after some steps of every optimizer, by gradients that are always the same."""
    reached = baselines.common.save_util.recursive_getattr
    torch.manual_seed(5)
    for _ in range(5):
        for name in sorted(algorithm._get_torch_save_params()[0]):
            optimizer = reached(algorithm, name)
            for group in getattr(optimizer, "param_groups", ()):
                for each in group["params"]:
                    each.grad = torch.randn_like(each)
            if hasattr(optimizer, "param_groups"):
                optimizer.step()
    found = {name: each.detach().clone() for name, each in algorithm.policy.state_dict().items()}
    entropy = getattr(algorithm, "log_ent_coef", None)
    return found if entropy is None else {**found, "log_ent_coef": entropy.detach().clone()}


class Run(NamedTuple):
    """An algorithm that learned.

    Attributes:
        name: Its class.
        folder: `whole.zip`; `target.zip` with the optimizers of before; `plain.pt` with the same in one dictionary.
        end: The weights some steps later.
    """

    name: str
    folder: Path
    end: dict[str, Any]

    def difference(self, archive: Path) -> float:
        """The largest, where an archive is loaded and goes on."""
        environment, _ = ALGORITHMS[self.name]
        loaded = getattr(baselines, self.name).load(archive, env=gymnasium.make(environment), device="cpu")
        found = stepped(loaded)
        return max(float((found[name] - each).abs().max()) for name, each in self.end.items())


@pytest.fixture(scope="module", params=ALGORITHMS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of each algorithm."""
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    environment, settings = ALGORITHMS[name]
    network = {"net_arch": [8]}
    algorithm = getattr(baselines, name)(
        "MlpPolicy", environment, policy_kwargs=network, seed=0, device="cpu", **settings
    )
    algorithm.save(folder / "fresh.zip")
    algorithm.learn(64)
    algorithm.save(folder / "whole.zip")
    plain = {}
    with (
        zipfile.ZipFile(folder / "whole.zip") as whole,
        zipfile.ZipFile(folder / "fresh.zip") as fresh,
        zipfile.ZipFile(folder / "target.zip", "w") as target,
    ):
        for member in whole.namelist():
            target.writestr(member, (fresh if "optimizer" in member else whole).read(member))
            if member.endswith(".pth"):
                plain[member.removesuffix(".pth")] = torch.load(io.BytesIO(whole.read(member)), weights_only=True)
    torch.save(plain, folder / "plain.pt")
    return Run(name, folder, stepped(algorithm))


@pytest.mark.parametrize("donor", ["whole.zip", "plain.pt"])
def test_every_optimizer(run: Run, tmp_path: Path, donor: str) -> None:
    """All of an algorithm's optimizers come along; every other member stays byte for byte."""
    target = run.folder / "target.zip"
    assert run.difference(run.folder / "whole.zip") == 0
    assert run.difference(target) > 1e-4
    result = ckptdoctor("graft", "--from", run.folder / donor, "--into", target, "--output", tmp_path / "out.zip")
    assert result.code == 0, result.err
    assert run.difference(tmp_path / "out.zip") == 0
    assert f"PPO.load('{tmp_path / 'out.zip'}', env)" in " ".join(result.out.split())
    with zipfile.ZipFile(target) as before, zipfile.ZipFile(tmp_path / "out.zip") as after:
        assert after.namelist() == before.namelist()
        assert all(after.read(each) == before.read(each) for each in before.namelist() if "optimizer" not in each)


def test_back_into_a_file(run: Run, tmp_path: Path) -> None:
    """Each of several optimizers keeps its name in a dictionary of models; one alone is its `optimizer`."""
    saved = torch.load(run.folder / "plain.pt", weights_only=True)
    models = {name: each for name, each in saved.items() if "optimizer" not in name}
    torch.save(models, tmp_path / "models.pt")
    arguments = ("--from", run.folder / "whole.zip", "--into", tmp_path / "models.pt", "--output", tmp_path / "out.pt")
    result = ckptdoctor("graft", *arguments)
    assert result.code == 0, result.err
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    assert len(found) == len(saved)
    names = saved.keys() - models.keys()
    for name in names:
        held = found[name if len(names) > 1 else "optimizer"]
        for number, state in saved[name]["state"].items():
            assert all(torch.equal(held["state"][number][slot], each) for slot, each in state.items())


def test_what_has_no_place(run: Run, tmp_path: Path) -> None:
    """An optimizer that the algorithm does not have is refused, by what it has."""
    more = ("--optimizer", "actor.optimizer.pth=other.pth")
    arguments = (
        "--from",
        run.folder / "whole.zip",
        "--into",
        run.folder / "target.zip",
        "--output",
        tmp_path / "o.zip",
    )
    result = ckptdoctor("graft", *arguments, *more)
    assert result.code == 4
    assert "other.pth" in result.err
    assert not list(tmp_path.iterdir())
