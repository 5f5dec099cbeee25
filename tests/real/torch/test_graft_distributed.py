"""Grafts into directories of torch.distributed.checkpoint, loaded by dcp.load and trained on: difference 0."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.commands import ckptdoctor

torch = pytest.importorskip("torch", exc_type=ImportError)

from support.pytorch.nets import AFTER, BEFORE, Net, decayed, difference, net, train  # noqa: E402 - they need torch

pytestmark = [
    pytest.mark.real,
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled"),
    pytest.mark.filterwarnings("ignore:.*TypedStorage is deprecated"),
]
dcp = pytest.importorskip("torch.distributed.checkpoint", exc_type=ImportError)
states = pytest.importorskip("torch.distributed.checkpoint.state_dict", exc_type=ImportError)

_FLAT = {"named": False, "flat": True}


def _got(model: Any, optimizer: Any, *, flat: bool) -> tuple[Any, Any]:
    options = states.StateDictOptions(flatten_optimizer_state_dict=flat)
    found: tuple[Any, Any] = states.get_state_dict(model, optimizer, options=options)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """A run in each layout (`donor-…`), targets with another state (`target-…`), weights alone, and its end."""
    folder = tmp_path_factory.mktemp("distributed")
    model = net()
    optimizer = torch.optim.AdamW(decayed(model), 0.01)
    train(model, optimizer, 0, BEFORE)
    other = net(9)
    begun = torch.optim.AdamW(decayed(other), 0.01)
    train(other, begun, 0, 2)
    other.load_state_dict(model.state_dict())
    for name, (one, held) in {"donor": (model, optimizer), "target": (other, begun)}.items():
        for layout, flat in _FLAT.items():
            weights, state = _got(one, held, flat=flat)
            dcp.save({"model": weights, "optim": state}, checkpoint_id=folder / f"{name}-{layout}")
        plain = {"model": one.state_dict(), "optim": held.state_dict()}
        dcp.save(plain, checkpoint_id=folder / f"{name}-plain")
    dcp.save({"model": model.state_dict()}, checkpoint_id=folder / "target-weights")
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, folder / "donor-file")
    train(model, optimizer, BEFORE, AFTER)
    return folder, model


def _resumed(path: Path, layout: str) -> Net:
    """Loads a directory by the calls of its layout, and goes on."""
    model = Net()
    optimizer = torch.optim.AdamW(decayed(model), 0.01)
    key = "optimizer" if layout == "weights" else "optim"
    if layout == "plain":
        train(model, optimizer, 0, 1)  # dcp.load fills what is there
        state = {"model": model.state_dict(), key: optimizer.state_dict()}
        dcp.load(state, checkpoint_id=path)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state[key])
    else:
        options = states.StateDictOptions(flatten_optimizer_state_dict=_FLAT.get(layout, False))
        weights, held = states.get_state_dict(model, optimizer, options=options)
        state = {"model": weights, key: held}
        dcp.load(state, checkpoint_id=path)
        states.set_state_dict(
            model, optimizer, model_state_dict=state["model"], optim_state_dict=state[key], options=options
        )
    train(model, optimizer, BEFORE, AFTER)
    return model


@pytest.mark.parametrize("donor", ["file", "named", "flat", "plain"])
@pytest.mark.parametrize("layout", ["named", "flat", "plain", "weights"])
def test_every_layout(run: tuple[Path, Any], tmp_path: Path, donor: str, layout: str) -> None:
    """From a file and from every layout into every other, and into weights alone."""
    folder, model = run
    arguments = ("--from", folder / f"donor-{donor}", "--into", folder / f"target-{layout}")
    result = ckptdoctor("graft", *arguments, "--output", tmp_path / "out")
    assert result.code == 0, result.err
    assert difference(model, _resumed(tmp_path / "out", layout)) == 0


@pytest.mark.parametrize("donor", ["named", "flat", "plain"])
def test_into_a_file(run: tuple[Path, Any], tmp_path: Path, donor: str) -> None:
    """Names become the numbers that a file has; torch's own converter drops every slot of a plain directory."""
    folder, model = run
    torch.save(net().state_dict(), tmp_path / "bare.pt")
    result = ckptdoctor(
        "graft", "--from", folder / f"donor-{donor}", "--into", tmp_path / "bare.pt", "--output", tmp_path / "out.pt"
    )
    assert result.code == 0, result.err
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    again = Net()
    again.load_state_dict(torch.load(folder / "donor-file", weights_only=True)["model"])
    optimizer = torch.optim.AdamW(decayed(again), 0.01)
    optimizer.load_state_dict(found[next(key for key in found if key != "model")])
    train(again, optimizer, BEFORE, AFTER)
    assert difference(model, again) == 0


def test_files_that_stay_are_shared(run: tuple[Path, Any], tmp_path: Path) -> None:
    """--link gives the target's data files a second name."""
    folder, _ = run
    target = tmp_path / "target"
    dcp.save({"model": net().state_dict()}, checkpoint_id=target)
    arguments = ("--from", folder / "donor-file", "--into", target, "--output", tmp_path / "out", "--link")
    assert ckptdoctor("graft", *arguments).code == 0
    assert (tmp_path / "out" / "__0_0.distcp").samefile(target / "__0_0.distcp")
