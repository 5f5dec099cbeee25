"""Grafts into files of torch.save, loaded by torch.load(weights_only=True, mmap=True) and trained on: difference 0."""

from __future__ import annotations

import copy
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from support.commands import Result, ckptdoctor

from ckptdoctor.report.graft.text import LISTED

torch = pytest.importorskip("torch", exc_type=ImportError)

from support.pytorch.nets import AFTER, BEFORE, CLASSES, decayed, difference, net, resumed, train  # noqa: E402 - they need torch

pytestmark = pytest.mark.real


def graft(folder: Path, *arguments: str, code: int = 0) -> Result:
    """Runs a graft of files in a folder."""
    result = ckptdoctor("graft", *arguments, cwd=folder)
    assert result.code == code, result.err
    return result


def loaded(path: Path) -> Any:
    """What torch.load makes of a file, by its strictest ways."""
    return torch.load(path, weights_only=True, mmap=True)


@pytest.mark.parametrize("name", CLASSES)
def test_every_class(tmp_path: Path, name: str) -> None:
    """Into a bare state_dict, beside a model, over a new optimizer, into a stream: state and schedule go on."""
    make = CLASSES[name]
    model = net()
    optimizer = make(model.parameters())
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
    train(model, optimizer, 0, BEFORE, scheduler)
    weights = model.state_dict()
    whole = {"model": weights, "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict(), "epoch": 7}
    torch.save(whole, tmp_path / "donor.pt")
    torch.save(weights, tmp_path / "bare.pt")
    torch.save({"model": weights, "epoch": 3}, tmp_path / "beside.pt")
    torch.save({"net": weights, "opt": make(net().parameters()).state_dict()}, tmp_path / "over.pt")
    torch.save(weights, tmp_path / "stream.pt", _use_new_zipfile_serialization=False)
    train(model, optimizer, BEFORE, AFTER, scheduler)
    for target, keys in {
        "bare": ("model", "optimizer"),
        "beside": ("model", "optimizer"),
        "over": ("net", "opt"),
    }.items():
        graft(tmp_path, "--from", "donor.pt", "--into", f"{target}.pt", "--output", f"{target}-out.pt")
        found = loaded(tmp_path / f"{target}-out.pt")
        again = resumed(found[keys[0]], found[keys[1]], make, scheduler=found["scheduler"])
        assert difference(model, again) == 0, target
    assert loaded(tmp_path / "beside-out.pt")["epoch"] == 3
    graft(tmp_path, "--from", "donor.pt", "--into", "stream.pt", "--output", "stream-out.pt")
    found = torch.load(tmp_path / "stream-out.pt", weights_only=True)
    assert difference(model, resumed(found["model"], found["optimizer"], make, scheduler=found["scheduler"])) == 0


@pytest.fixture(scope="module")
def grouped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A run of AdamW with two groups, its files, and the model at its end."""
    folder = tmp_path_factory.mktemp("grouped")
    model = net()
    optimizer = torch.optim.AdamW(decayed(model), 0.01)
    train(model, optimizer, 0, BEFORE)
    weights, state = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    torch.save({"model": weights, "optimizer": state}, folder / "donor.pt")
    torch.save(weights, folder / "bare.pt")
    torch.save(state, folder / "alone.pt")
    for prefix in ("module.", "net."):
        prefixed = OrderedDict((f"{prefix}{name}", each) for name, each in weights.items())
        torch.save({"model": prefixed, "optimizer": state}, folder / f"{prefix}pt")
    one = torch.optim.AdamW(net().parameters(), 0.01, weight_decay=0.05)
    torch.save({"model": weights, "optimizer": one.state_dict()}, folder / "one-group.pt")
    other = net()
    trained = torch.optim.AdamW(other.parameters(), 0.03)
    train(other, trained, 0, BEFORE)
    torch.save({"model": other.state_dict(), "optimizer": trained.state_dict()}, folder / "one-group-trained.pt")
    torch.save(net(2, "bac").state_dict(), folder / "reordered.pt")
    torch.save(net(3, longer=True).state_dict(), folder / "longer.pt")
    train(model, optimizer, BEFORE, AFTER)
    return folder, model


def _adamw(groups: Any) -> Any:
    return torch.optim.AdamW(groups, 0.01)


@pytest.mark.parametrize("donor", ["donor.pt", "module.pt", "net.pt"])
def test_groups_and_prefixes(grouped: tuple[Path, Any], tmp_path: Path, donor: str) -> None:
    """Groups stay as they were, and what wrappers put before names is no name."""
    folder, model = grouped
    graft(folder, "--from", donor, "--into", "bare.pt", "--output", str(tmp_path / "out.pt"))
    found = loaded(tmp_path / "out.pt")
    assert difference(model, resumed(found["model"], found["optimizer"], _adamw, groups=True)) == 0


def test_other_groups(grouped: tuple[Path, Any], tmp_path: Path) -> None:
    """Where the target divides otherwise, its groups stay and keep what tells them apart; --groups keep says no."""
    folder, model = grouped
    out = tmp_path / "out.pt"
    result = graft(folder, "--from", "donor.pt", "--into", "one-group.pt", "--output", str(out))
    assert "different groups" in result.out
    (group,) = loaded(out)["optimizer"]["param_groups"]
    assert (group["weight_decay"], group["params"]) == (0.05, list(range(10)))
    donor, state = loaded(folder / "donor.pt"), loaded(out)["optimizer"]["state"]
    names = [name for name, _ in net().named_parameters()]
    order = [*(n for n in names if donor["model"][n].dim() > 1), *(n for n in names if donor["model"][n].dim() <= 1)]
    for place, name in enumerate(order):
        assert torch.equal(state[names.index(name)]["exp_avg"], donor["optimizer"]["state"][place]["exp_avg"])
    graft(
        folder, "--from", "donor.pt", "--into", "one-group.pt", "--output", str(tmp_path / "k.pt"), "--groups", "keep"
    )
    found = loaded(tmp_path / "k.pt")
    assert difference(model, resumed(found["model"], found["optimizer"], _adamw, groups=True)) == 0


def test_what_nothing_proves_is_refused(grouped: tuple[Path, Any], tmp_path: Path) -> None:
    """Equal shapes in another order, new layers, an optimizer without a model: each with what would settle it."""
    folder, _ = grouped
    out = str(tmp_path / "out.pt")
    assert "--map" in graft(folder, "--from", "donor.pt", "--into", "reordered.pt", "--output", out, code=4).err
    assert "--partial" in graft(folder, "--from", "donor.pt", "--into", "longer.pt", "--output", out, code=4).err
    assert "--map" in graft(folder, "--from", "alone.pt", "--into", "one-group.pt", "--output", out, code=4).err
    assert "no optimizer" in graft(folder, "--from", "bare.pt", "--into", "bare.pt", "--output", out, code=4).err
    assert not Path(out).exists()


def test_new_layers_begin_afresh(grouped: tuple[Path, Any], tmp_path: Path) -> None:
    """--partial: the old state is the donor's bit for bit, and the new parameters have none."""
    folder, _ = grouped
    graft(folder, "--from", "donor.pt", "--into", "longer.pt", "--output", str(tmp_path / "out.pt"), "--partial")
    state, donor = loaded(tmp_path / "out.pt")["optimizer"], loaded(folder / "donor.pt")["optimizer"]
    assert sum(len(each["params"]) for each in state["param_groups"]) == 12
    assert state["state"].keys() == donor["state"].keys()
    model = net(longer=True)
    optimizer = _adamw(decayed(model))
    sizes = [len(each["params"]) for each in state["param_groups"]]
    assert sizes == [4, 8]  # what is new comes last
    assert len(optimizer.param_groups) == 2


def test_counts_and_settings_by_hand(grouped: tuple[Path, Any], tmp_path: Path) -> None:
    """--iterations, --learning-rate and --set; a class that keeps no count takes none."""
    folder, _ = grouped
    out = tmp_path / "out.pt"
    arguments = ("--iterations", "100", "--learning-rate", "0.5", "--set", "eps=0.001")
    graft(folder, "--from", "donor.pt", "--into", "donor.pt", "--output", str(out), *arguments)
    found = loaded(out)["optimizer"]
    assert {float(each["step"]) for each in found["state"].values()} == {100.0}
    again = net()
    optimizer = torch.optim.AdamW(decayed(again), 0.01)
    optimizer.load_state_dict(found)
    train(again, optimizer, 0, 2)
    assert {float(each["step"]) for each in optimizer.state.values()} == {102.0}  # each counts by itself
    assert [(each["lr"], each["eps"]) for each in found["param_groups"]] == [(0.5, 0.001)] * 2
    model = net()
    optimizer = CLASSES["momentum"](model.parameters())
    train(model, optimizer, 0, 2)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "sgd.pt")
    assert "count" in graft(tmp_path, "--into", "sgd.pt", "--output", "x.pt", "--iterations", "3", code=4).err


def test_only_a_part(grouped: tuple[Path, Any], tmp_path: Path) -> None:
    """--only: the count, the slots or the settings alone, and what the target keeps is its own."""
    folder, _ = grouped
    model = net()
    optimizer = _adamw(model.parameters())
    train(model, optimizer, 0, 2)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "target.pt")
    own = loaded(tmp_path / "target.pt")["optimizer"]
    target = str(tmp_path / "target.pt")
    found = {}
    for part in ("iterations", "slots", "hyperparameters"):
        out = str(tmp_path / f"{part}.pt")
        graft(folder, "--from", "one-group-trained.pt", "--into", target, "--output", out, "--only", part)
        found[part] = loaded(tmp_path / f"{part}.pt")["optimizer"]
    donor = loaded(folder / "one-group-trained.pt")["optimizer"]
    assert {float(each["step"]) for each in found["iterations"]["state"].values()} == {float(BEFORE)}
    assert torch.equal(found["iterations"]["state"][0]["exp_avg"], own["state"][0]["exp_avg"])
    assert {float(each["step"]) for each in found["slots"]["state"].values()} == {2.0}
    assert torch.equal(found["slots"]["state"][0]["exp_avg"], donor["state"][0]["exp_avg"])
    assert found["slots"]["param_groups"] == own["param_groups"]
    assert found["hyperparameters"]["param_groups"][0]["lr"] == 0.03
    assert torch.equal(found["hyperparameters"]["state"][0]["exp_avg"], own["state"][0]["exp_avg"])
    fresh = str(folder / "one-group.pt")
    arguments = ("--from", "one-group-trained.pt", "--into", fresh, "--output", str(tmp_path / "x.pt"))
    assert "never stepped" in graft(folder, *arguments, "--only", "iterations", code=4).err


def test_several_optimizers(tmp_path: Path) -> None:
    """A GAN's two are carried together, into a file that has them and into one that has none."""
    models = {"g": net(1), "d": net(2)}
    optimizers = {name: torch.optim.Adam(each.parameters()) for name, each in models.items()}
    for count, (name, each) in enumerate(models.items(), 3):
        train(each, optimizers[name], 0, count)
    weights = {name: each.state_dict() for name, each in models.items()}
    torch.save({**weights, **{f"opt_{n}": o.state_dict() for n, o in optimizers.items()}}, tmp_path / "donor.pt")
    fresh = {f"opt_{name}": torch.optim.Adam(each.parameters()).state_dict() for name, each in models.items()}
    torch.save({**weights, **fresh}, tmp_path / "fresh.pt")
    torch.save(weights, tmp_path / "none.pt")
    for target in ("fresh", "none"):
        graft(tmp_path, "--from", "donor.pt", "--into", f"{target}.pt", "--output", f"{target}-out.pt")
        found = loaded(tmp_path / f"{target}-out.pt")
        assert [float(found[f"opt_{name}"]["state"][0]["step"]) for name in "gd"] == [3, 4]
        again = {name: torch.optim.Adam(each.parameters()) for name, each in models.items()}
        for name, each in again.items():
            each.load_state_dict(found[f"opt_{name}"])


def test_adam_into_a_program_of_adamw(tmp_path: Path) -> None:
    """The target's class says how weights decay; the moments are the same."""
    model = net()
    adam = torch.optim.Adam(model.parameters(), 0.01)
    train(model, adam, 0, BEFORE)
    torch.save({"model": model.state_dict(), "optimizer": adam.state_dict()}, tmp_path / "adam.pt")
    adamw = torch.optim.AdamW(net().parameters(), 0.01)
    torch.save({"model": model.state_dict(), "optimizer": adamw.state_dict()}, tmp_path / "adamw.pt")
    graft(tmp_path, "--from", "adam.pt", "--into", "adamw.pt", "--output", "out.pt")
    assert loaded(tmp_path / "out.pt")["optimizer"]["param_groups"][0]["decoupled_weight_decay"] is True
    graft(tmp_path, "--from", "adam.pt", "--into", "adam.pt", "--output", "as.pt", "--optimizer-class", "AdamW")
    assert loaded(tmp_path / "as.pt")["optimizer"]["param_groups"][0]["decoupled_weight_decay"] is True
    sgd = torch.optim.SGD(net().parameters(), 0.01, momentum=0.9)
    torch.save({"model": model.state_dict(), "optimizer": sgd.state_dict()}, tmp_path / "sgd.pt")
    assert (
        "different things" in graft(tmp_path, "--from", "adam.pt", "--into", "sgd.pt", "--output", "x.pt", code=4).err
    )


def _saved(folder: Path, *, many: int = 0) -> dict[str, Any]:
    """A donor, and a target that lacks its optimizer."""
    model = torch.nn.ParameterList(torch.ones(1) for _ in range(many)) if many else net()
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    for number, each in enumerate(model.parameters()):
        each.grad = torch.full_like(each, number + 1.0)
    for _ in range(BEFORE):
        optimizer.step()
    whole = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(whole, folder / "donor.pt")
    torch.save({"model": model.state_dict(), "epoch": 7}, folder / "target.pt")
    return whole


def test_places_that_torch_reckons(tmp_path: Path) -> None:
    """Where torch may reckon the places of storages it reads them instead: they do not lie as it lays them."""
    config = pytest.importorskip("torch.utils.serialization.config", reason="torch before 2.7 reads them always")
    whole = _saved(tmp_path)
    graft(tmp_path, "--from", "donor.pt", "--into", "target.pt", "--output", "out.pt")
    with config.patch({"load.calculate_storage_offsets": True}):
        found = loaded(tmp_path / "out.pt")
    assert all(torch.equal(each, whole["model"][name]) for name, each in found["model"].items())
    for number, state in whole["optimizer"]["state"].items():
        assert all(torch.equal(found["optimizer"]["state"][number][name], each) for name, each in state.items())


@pytest.mark.parametrize("what", ["exp_avg", "step"])
def test_a_damaged_donor(tmp_path: Path, what: str) -> None:
    """One bit of a slot, or of a count, differs from its checksum: nothing is written."""
    whole = _saved(tmp_path)
    damaged = whole["optimizer"]["state"][1][what]
    bytes_of = damaged.numpy().tobytes()
    data = bytearray((tmp_path / "donor.pt").read_bytes())
    at = data.rfind(bytes_of)
    assert at > 0
    data[at + 2] ^= 0x20  # a count of 7 becomes one of 6
    (tmp_path / "donor.pt").write_bytes(data)
    result = graft(tmp_path, "--from", "donor.pt", "--into", "target.pt", "--output", "out.pt", code=3)
    assert "CRC-32" in result.err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["donor.pt", "target.pt"]


def test_a_text_lists_so_many_variables(tmp_path: Path) -> None:
    """Those beyond are counted; JSON has every one."""
    _saved(tmp_path, many=LISTED + 7)
    text = graft(tmp_path, "--from", "donor.pt", "--into", "target.pt", "--output", "out.pt", "--dry-run").out
    assert "and 7 more: --format json has all of them" in text
    assert text.count("same path") == LISTED
    marked = graft(
        tmp_path, "--from", "donor.pt", "--into", "target.pt", "--output", "out.pt", "--dry-run", "--format", "markdown"
    ).out
    assert (marked.count("same path"), marked.count("and 7 more")) == (LISTED, 1)
