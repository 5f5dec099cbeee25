"""`ckptdoctor verify` with the trainers above PyTorch: each resumes a program, and is stopped before its first step.

Each case is one run of the child process. The trainers save what is verified, in processes of their own.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from support.frameworks import verified

from ckptdoctor.verification import Outcome, Verification

HERE = Path(__file__).parent
PROGRAMS = HERE / "children" / "torch_programs.py"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"),
]


def needs(package: str) -> pytest.MarkDecorator:
    """Skips where a trainer is not installed."""
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


def made(package: str, folder: Path) -> Path:
    """What a trainer leaves after three steps."""
    subprocess.run([sys.executable, str(PROGRAMS), package, str(folder)], check=True, capture_output=True, timeout=300)
    return Path((folder / "made").read_text(encoding="utf-8"))


def asked(path: Path, function: str) -> Verification:
    """What the trainer restores into a program."""
    return verified(path, script=f"{PROGRAMS}:{function}")


def complete(found: Verification, framework: str, slots: int) -> None:
    """All of it was restored, by the trainer itself."""
    assert found.framework == framework
    assert found.ok, found.error
    assert found.iterations == (3, 3, Outcome.RESTORED)
    assert len(found.slots) == slots
    assert all(each.last_epoch.outcome is Outcome.RESTORED for one in found.optimizers for each in one.schedulers)


@needs("lightning")
def test_lightning(tmp_path: Path) -> None:
    """`fit(ckpt_path=)` restores a module's optimizers; in another order of parameters the first step fails."""
    path = made("lightning", tmp_path)
    complete(asked(path, "module"), "lightning", 8)
    assert "the first step fails" in (asked(path, "module_reversed").error or "")
    lost = asked(path, "module_without_scheduler")
    assert {each.outcome for each in lost.slots} == {Outcome.RESTORED}
    assert [each.last_epoch for each in lost.optimizers[0].schedulers] == [(1, None, Outcome.DROPPED)]
    assert "verify needs a LightningModule" in (asked(path, "model").error or "")


@needs("lightning")
def test_lightning_drops_what_is_kept_under_text(tmp_path: Path) -> None:
    """It says nothing where torch drops a state silently; what the optimizer then holds does."""
    import torch

    path = made("lightning", tmp_path)
    state = torch.load(path, weights_only=True)
    state["optimizer_states"][0]["state"] = {
        str(key): each for key, each in state["optimizer_states"][0]["state"].items()
    }
    torch.save(state, path)
    found = asked(path, "module")
    assert found.error is None
    assert {each.outcome for each in found.slots} == {Outcome.DROPPED}


@needs("transformers")
@needs("accelerate")
def test_transformers(tmp_path: Path) -> None:
    """Trainer restores optimizer.pt and scheduler.pt together; without one of them it goes on with neither."""
    path = made("transformers", tmp_path)
    complete(asked(path, "model"), "transformers", 8)
    complete(asked(path, "trainer"), "transformers", 8)
    (path / "scheduler.pt").unlink()
    found = asked(path, "model")
    assert found.error is None
    assert {each.outcome for each in found.slots} == {Outcome.DROPPED}
    assert not found.restorable


@needs("accelerate")
def test_accelerate(tmp_path: Path) -> None:
    """`load_state` restores what was prepared."""
    path = made("accelerate", tmp_path)
    complete(asked(path, "prepared"), "accelerate", 8)
    assert "the first step fails" in (asked(path, "prepared_reversed").error or "")
