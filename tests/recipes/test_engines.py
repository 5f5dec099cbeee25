"""Recipes for DeepSpeed, stable-baselines3 and safetensors, run by them where they are installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from support.recipes import filled, make, run

from ckptdoctor import convert
from ckptdoctor.errors import NoRecipe
from ckptdoctor.recipes.run import recipe, render

FOR_A_CPU = {
    "DS_ACCELERATOR": "cpu", "DS_BUILD_OPS": "0", "DS_SKIP_CUDA_CHECK": "1", "OMP_NUM_THREADS": "1", "LOCAL_SIZE": "1",
}  # fmt: skip


@pytest.mark.real
@pytest.mark.skipif(importlib.util.find_spec("stable_baselines3") is None, reason="stable-baselines3 is not installed")
@pytest.mark.parametrize(("name", "proofs"), [("PPO", 4), ("A2C", 4), ("DQN", 4), ("SAC", 8), ("TD3", 6)])
def test_stable_baselines3(tmp_path: Path, name: str, proofs: int) -> None:
    """The script finds the algorithm and runs as it is; every optimizer is proven, and another count is refused."""
    make("with_engines", tmp_path, name, backend="torch")
    text = filled(tmp_path / "model.zip", {})
    assert f"model = {name}.load(PATH" in text
    assert text.count("assert ") == proofs
    done = run(text, tmp_path, backend="torch")
    assert done.code == 0, f"{done.err}\n{text}"
    assert "restored: " in done.out
    steps = text.partition("assert found == ")[2].partition(",")[0]
    refused = run(text.replace(f"assert found == {steps}", "assert found == 99", 1), tmp_path, backend="torch")
    assert f"num_timesteps is {steps}" in refused.err


@pytest.mark.real
@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed is not installed")
@pytest.mark.parametrize("stage", ["0", "1", "2", "3"])
def test_deepspeed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str) -> None:
    """The engine loads it with the configuration that it has; an optimizer of the program's own is made before."""
    for name, value in FOR_A_CPU.items():
        monkeypatch.setenv(name, value)
    make("with_engines", tmp_path, stage, backend="torch")
    gaps = {"build_model": "__import__('with_engines').net()"}
    if stage == "2":
        gaps["build_scheduler"] = "torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)"
    text = filled(tmp_path / "global_step7", gaps)
    done = run(text, tmp_path, backend="torch")
    assert done.code == 0, f"{done.err}\n{text}"
    assert "restored: AdamW at iteration 7" in done.out
    assert text.count("assert ") == (5 if stage == "2" else 4)
    changed = text.replace("isclose(norm, ", "isclose(norm, 1 + ")
    assert "AssertionError: exp_avg: " in run(changed, tmp_path, backend="torch").err


def test_without_the_frameworks(museum: Path) -> None:
    """Of the museum's: several ranks are told, the algorithm is asked for where nothing names it."""
    text = render(recipe(str(museum / "torch2.13/deepspeed-1")))
    compile(text, "recipe", "exec")
    assert "engine.load_checkpoint(os.path.dirname(PATH), tag=os.path.basename(PATH))" in text
    assert "torch.distributed.all_reduce(squares)" in text
    text = render(recipe(str(museum / "torch2.13/baselines.zip")))
    compile(text, "recipe", "exec")
    assert "model.policy.optimizer.state_dict()" in text


@pytest.mark.real
def test_safetensors(museum: Path, tmp_path: Path) -> None:
    """Weights go into the program's model; an optimizer in it is the program's own matter."""
    pytest.importorskip("safetensors")
    pytest.importorskip("torch")
    path = museum / "torch2.13/safetensors-weights.safetensors"
    shards = tmp_path / "shards"
    convert(path, shards, "safetensors", max_shard=40)
    model = (
        "__import__('torch').nn.ModuleDict({name: __import__('torch').nn.Linear(*sizes)"
        " for name, sizes in {'hidden': (3, 4), 'score': (4, 2)}.items()})"
    )
    for each in (path, shards):
        done = run(filled(each, {"build_model": model}), tmp_path, backend="torch")
        assert done.code == 0, done.err
    with pytest.raises(NoRecipe, match="the program knows whose they are"):
        recipe(str(museum / "torch2.13/safetensors-optimizer.safetensors"))
