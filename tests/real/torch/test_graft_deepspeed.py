"""Grafts into DeepSpeed's checkpoints, loaded by its engine on every number of ranks and trained on: difference 0.

Ranks that share a batch add its gradients in another order than one alone does: from one to the other it is 1e-6.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from support.commands import ROOT, ckptdoctor, python

torch = pytest.importorskip("torch", exc_type=ImportError)
if find_spec("deepspeed") is None:  # it is imported by processes of its own
    pytest.skip("deepspeed is not installed", allow_module_level=True)

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]

Layout = tuple[int, str, int]
_SAMPLED: list[Layout] = [(0, "fp32", 1), (1, "fp32", 2), (3, "fp32", 2)]
_ALL: list[Layout] = [*product(range(4), ("fp32", "bf16"), (1, 2))]
PROGRAM = ROOT / "tests" / "support" / "pytorch" / "with_deepspeed.py"


def program(folder: Path, layout: Layout, *checkpoints: Path) -> dict[str, float]:
    """Runs it: checkpoint → how far training on ends from the run that was not stopped."""
    done = python(str(PROGRAM), str(folder), *map(str, layout), *map(str, checkpoints))
    assert done.code == 0, done.err
    lines = [line.rpartition(" ") for line in done.out.splitlines() if line.startswith(str(folder.parent))]
    return {Path(path).name: float(far) for path, _, far in lines}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Layout], Path]:
    """The folder of a run: `whole`, and `blank` with the same weights and an optimizer of another count and rate."""
    top = tmp_path_factory.mktemp("deepspeed")

    def make(layout: Layout) -> Path:
        folder: Path = top / "-".join(map(str, layout))
        if not folder.exists():
            folder.mkdir()
            program(folder, layout)
            shutil.copytree(folder / "whole", folder / "blank")
            for file in (folder / "blank").iterdir():
                _blank(file)
        return folder

    return make


def _blank(file: Path) -> None:
    """Takes the state out of a file, in a process that has DeepSpeed's classes."""
    code = f"""
import torch
held = torch.load({str(file)!r}, weights_only=False)
def visit(node):
    for key, each in node.items() if isinstance(node, dict) else enumerate(node):
        if key in ("exp_avg", "exp_avg_sq", "step") and isinstance(each, torch.Tensor):
            each.zero_()
        elif isinstance(each, (dict, list)):
            visit(each)
    if isinstance(node, dict) and "step_size" in node:
        node.update(last_epoch=0, _step_count=1)
    if isinstance(node, dict) and "initial_lr" in node:
        node["lr"] = 0.5
visit(held)
torch.save(held, {str(file)!r})
"""
    done = python("-c", code, DS_ACCELERATOR="cpu", DS_BUILD_OPS="0")
    assert done.code == 0, done.err


def _donors(layout: Layout, known: list[Layout]) -> list[Layout]:
    """Those of the same run: in bfloat16 sums depend on the ranks, and stage 0 begins with one step more."""
    stage, kind, ranks = layout
    alike = [each for each in known if each[1] == kind]
    return alike if kind == "fp32" else [each for each in alike if (each[0] == 0, each[2]) == (stage == 0, ranks)]


def _hold(made: Callable[[Layout], Path], layout: Layout, donors: list[Layout]) -> None:
    folder, outs = made(layout), []
    for donor in donors:
        source = made(donor)
        one = source / "one.pt"
        if not one.exists():
            assert ckptdoctor("convert", source / "whole", "--output", one).code == 0
        for each, given in (("tag", source / "whole"), ("file", one)):
            out = folder / f"{'-'.join(map(str, donor))}-{each}"
            result = ckptdoctor("graft", "--from", given, "--into", folder / "blank", "--output", out)
            assert result.code == 0, result.err
            outs.append(out)
    found = program(folder, layout, folder / "blank", *outs)
    assert found.pop("blank") > 0.1
    assert found.keys() == {each.name for each in outs}
    for name, far in found.items():
        assert far == 0 if f"-{layout[2]}-" in name else far <= 1e-6, (layout, name, far)


@pytest.mark.parametrize("layout", _SAMPLED, ids=str)
def test_every_donor(made: Callable[[Layout], Path], layout: Layout) -> None:
    """From every stage and number of ranks, and from one file: partitions are filled, schedulers go along."""
    _hold(made, layout, _donors(layout, _SAMPLED))


@pytest.mark.nightly
@pytest.mark.parametrize("layout", _ALL, ids=str)
def test_every_pair(made: Callable[[Layout], Path], layout: Layout) -> None:
    """All stages, types and numbers of ranks."""
    _hold(made, layout, _donors(layout, _ALL))


def test_into_a_file(made: Callable[[Layout], Path], tmp_path: Path) -> None:
    """The count of a partition is that of each of its parameters, which count by themselves from then on."""
    folder = made((1, "fp32", 2))
    assert ckptdoctor("convert", folder / "whole", "--output", tmp_path / "one.pt").code == 0
    saved: Any = torch.load(tmp_path / "one.pt", weights_only=True)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))
    sizes = [len(each["params"]) for each in saved["optimizer"]["param_groups"]]
    matrices, vectors = ([each for each in model.parameters() if each.dim() == dims] for dims in (2, 1))
    assert sizes == [len(matrices), len(vectors)]
    optimizer = torch.optim.AdamW([{"params": matrices}, {"params": vectors}])
    optimizer.load_state_dict(saved["optimizer"])
    for each in model.parameters():
        each.grad = torch.ones_like(each)
    optimizer.step()
    assert {float(each["step"]) for each in optimizer.state.values()} == {8.0}


def test_what_partitions_cannot_hold(made: Callable[[Layout], Path], tmp_path: Path) -> None:
    """One count for a group, state for each of its parameters, every rank: else it is refused, with what to do."""
    folder = made((1, "fp32", 2))
    assert ckptdoctor("convert", folder / "whole", "--output", tmp_path / "one.pt").code == 0
    saved: Any = torch.load(tmp_path / "one.pt", weights_only=True)
    saved["optimizer"]["state"][1]["step"] += 1
    torch.save(saved, tmp_path / "uneven.pt")
    del saved["optimizer"]["state"][1]
    torch.save(saved, tmp_path / "fewer.pt")
    shutil.copytree(folder / "blank", tmp_path / "cut")
    (tmp_path / "cut" / "zero_pp_rank_1_mp_rank_00_optim_states.pt").unlink()
    out = tmp_path / "out"
    for donor, target, said, more in (
        ("uneven.pt", folder / "blank", "convert", ()),
        ("fewer.pt", folder / "blank", "convert", ("--partial",)),
        ("one.pt", tmp_path / "cut", "rank 1", ()),
    ):
        result = ckptdoctor("graft", "--from", tmp_path / donor, "--into", target, "--output", out, *more)
        assert (result.code, said in result.err) == (4, True), (donor, result)
        assert not out.exists()
