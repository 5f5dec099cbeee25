"""Recipes for what trainers leave, run by Lightning, transformers and accelerate where they are installed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.recipes import filled, make, run

pytestmark = [pytest.mark.real, pytest.mark.filterwarnings("ignore")]

CASES = {
    "lightning": ("lightning.ckpt", "__import__('with_trainers').lightning_module()", 4),
    "transformers": ("run/checkpoint-8", "__import__('with_trainers').model_of_trainer()", 3),
    "accelerate": ("state", "torch.nn.Linear(3, 1)", 2),
}


@pytest.mark.parametrize("name", CASES)
def test_a_trainer(tmp_path: Path, name: str) -> None:
    """The trainer itself restores what it saved, and the script proves count, moment and scheduler."""
    pytest.importorskip(name, exc_type=ImportError)
    make("with_trainers", tmp_path, name, backend="torch")
    path, model, proofs = CASES[name]
    text = filled(tmp_path / path, {"build_model": model})
    done = run(text, tmp_path, backend="torch")
    assert done.code == 0, f"{done.err}\n{text}"
    assert "restored: Adam" in done.out
    assert text.count("assert ") >= proofs - 1


@pytest.mark.parametrize("name", CASES)
def test_its_proof_can_fail(tmp_path: Path, name: str) -> None:
    """Another count than the file's is refused."""
    pytest.importorskip(name, exc_type=ImportError)
    make("with_trainers", tmp_path, name, backend="torch")
    path, model, _ = CASES[name]
    text = filled(tmp_path / path, {"build_model": model})
    steps = text.partition("assert found == ")[2].partition(",")[0]
    done = run(text.replace(f"assert found == {steps}", "assert found == 99", 1), tmp_path, backend="torch")
    assert done.code == 1
    assert f"AssertionError: the count of Adam{'' if name == 'accelerate' else 'W'} is {steps}" in done.err
