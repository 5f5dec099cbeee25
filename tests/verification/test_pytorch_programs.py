"""`ckptdoctor verify --model-script` for PyTorch: the program's own model, optimizer and scheduler load the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.pytorch.saved import by_program, net, saved, stepped, torch

from ckptdoctor.verification import Outcome

RESTORED, CHANGED = Outcome.RESTORED, Outcome.CHANGED


def test_a_program(tmp_path: Path) -> None:
    """With the model alone, with its optimizer, and with its scheduler."""
    model = net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    stepped(optimizer)
    scheduler.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": scheduler.state_dict()}
    torch.save(state, tmp_path / "a.pt")
    of_sgd = "(lambda optimizer: (model, optimizer, torch.optim.lr_scheduler.StepLR(optimizer, 5)))"
    made = f"{of_sgd}(torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.5))"
    for text in ("model", "model, torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.5)"):
        found = by_program(tmp_path / "a.pt", tmp_path, text)
        assert found.ok, (text, found.error)
        assert len(found.slots) == 4
    found = by_program(tmp_path / "a.pt", tmp_path, made)
    assert found.ok, found.error
    assert [each.last_epoch for each in found.optimizers[0].schedulers] == [(1, 1, RESTORED)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "model, torch.optim.Adam([*model.parameters()][::-1])",
            "the first step fails: RuntimeError: The size of tensor",
        ),
        ("model, torch.optim.RAdam(model.parameters())", "the artifact's optimizer is Adam, the program's RAdam"),
        ("model, torch.optim.Adam(model[0].parameters())", "doesn't match the size of optimizer's group"),
        ("nn.Linear(3, 4)", "Error(s) in loading state_dict for Linear"),
        ("model, torch.optim.Adam(undefined)", "the function of --model-script fails: NameError: name 'undefined'"),
        ("7", "the function of --model-script answers with int; verify needs a model"),
    ],
)
def test_a_program_that_does_not_fit(tmp_path: Path, text: str, sentence: str) -> None:
    """Another order, another class, another size, another model: torch itself says it, or the first step."""
    found = by_program(saved(tmp_path / "a.pt"), tmp_path, text)
    assert not found.ok
    assert sentence in (found.error or "")


def test_names_in_another_order(tmp_path: Path) -> None:
    """Equal shapes exchanged load silently; the names that the file has tell whose state each now holds."""
    model = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3), "b": torch.nn.Linear(3, 3)})
    optimizer = torch.optim.Adam(model.named_parameters())
    if "param_names" not in optimizer.param_groups[0]:
        pytest.skip("this torch stores no names")
    torch.save({"model": model.state_dict(), "optimizer": stepped(optimizer).state_dict()}, tmp_path / "a.pt")
    text = (
        "(lambda model: (model, torch.optim.Adam([*model.FIRST.parameters(), *model.SECOND.parameters()])))"
        "(nn.ModuleDict(dict(a=nn.Linear(3, 3), b=nn.Linear(3, 3))))"
    )
    assert by_program(tmp_path / "a.pt", tmp_path, text.replace("FIRST", "a").replace("SECOND", "b")).ok
    found = by_program(tmp_path / "a.pt", tmp_path, text.replace("FIRST", "b").replace("SECOND", "a"))
    assert not found.ok
    assert {each.outcome for each in found.slots} == {CHANGED}
    assert "it holds exp_avg of b.weight" in {each.detail for each in found.slots if each.variable == "a.weight"}


def test_two_optimizers_of_one_program(tmp_path: Path) -> None:
    """Each by its place, though the first never stepped; both models are parts of the program's."""
    first, second = net(), net()
    optimizers = [torch.optim.Adam(first.parameters()), stepped(torch.optim.SGD(second.parameters(), momentum=0.9))]
    state = {
        "first": first.state_dict(), "second": second.state_dict(),
        "opt_first": optimizers[0].state_dict(), "opt_second": optimizers[1].state_dict(),
    }  # fmt: skip
    torch.save(state, tmp_path / "a.pt")
    text = (
        "(lambda both: (both, [torch.optim.Adam(both.first.parameters()), torch.optim.SGD(both.second.parameters())]))"
        "(nn.ModuleDict(dict(first=model, second=nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)))))"
    )
    found = by_program(tmp_path / "a.pt", tmp_path, text)
    assert found.ok, found.error
    assert [(each.name, each.class_name, len(each.slots)) for each in found.optimizers] == [("opt_second", "SGD", 4)]


def test_a_scheduler_that_the_program_does_not_make(tmp_path: Path) -> None:
    """Nothing is said of it but that nothing was asked."""
    model = net()
    optimizer = stepped(torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "warmup": scheduler.state_dict()}
    torch.save(state, tmp_path / "a.pt")
    found = by_program(tmp_path / "a.pt", tmp_path, "model, torch.optim.SGD(model.parameters(), momentum=0.9)")
    assert found.ok, found.error
    assert "of warmup nothing was asked: only the program's own code makes such a scheduler" in found.notes
