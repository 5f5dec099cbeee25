"""Trains with stable-baselines3 and DeepSpeed on a CPU, and saves as they do.

python with_engines.py FOLDER PPO|A2C|DQN|SAC|TD3|STAGE
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

import torch


def environment(*, discrete: bool) -> Any:
    """A world of three numbers."""
    import gymnasium
    import numpy as np

    class World(gymnasium.Env):  # type: ignore[misc]
        def __init__(self) -> None:
            self.observation_space = gymnasium.spaces.Box(-1, 1, (3,))
            self.action_space = gymnasium.spaces.Discrete(2) if discrete else gymnasium.spaces.Box(-1, 1, (1,))
            self.number = 0

        def reset(self, **_: Any) -> Any:
            self.number = 0
            return np.zeros(3, "float32"), {}

        def step(self, _: Any) -> Any:
            self.number += 1
            return np.full(3, self.number / 10, "float32"), 1.0, self.number > 8, False, {}

    return World()


def algorithm(name: str) -> Any:
    """One that has learned for some steps."""
    import stable_baselines3

    settings: dict[str, Any] = {"learning_starts": 4, "buffer_size": 50, "batch_size": 4}
    settings = {"PPO": {"n_steps": 16, "batch_size": 8, "n_epochs": 2}, "A2C": {}}.get(name, settings)
    world = environment(discrete=name in {"PPO", "A2C", "DQN"})
    policy = {"net_arch": [4]}
    made = getattr(stable_baselines3, name)("MlpPolicy", world, policy_kwargs=policy, device="cpu", **settings)
    return made.learn(32)


def net() -> Any:
    """What DeepSpeed trains; without the helper that it would compile for a CPU."""
    importlib.import_module("deepspeed.comm.torch")
    sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None  # type: ignore[attr-defined]
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))


def with_deepspeed(folder: str, stage: int, *, by_program: bool) -> None:
    """Trains for some steps in one process."""
    import deepspeed

    os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
    config: dict[str, Any] = {"train_micro_batch_size_per_gpu": 4, "zero_optimization": {"stage": stage}}
    config["zero_allow_untested_optimizer"] = True
    given: dict[str, Any] = {}
    model = net()
    if by_program:
        optimizer = torch.optim.AdamW(model.parameters(), 0.01)
        given = {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)}
    else:
        config["optimizer"] = {"type": "AdamW", "params": {"lr": 0.01, "torch_adam": True}}
        given = {"model_parameters": model.parameters()}
    engine, *_ = deepspeed.initialize(model=model, config=config, **given)
    for _ in range(7):
        x = torch.randn(4, 3)
        engine.backward((engine(x) - x[:, :2]).square().mean())
        engine.step()
    engine.save_checkpoint(folder)


if __name__ == "__main__":
    FOLDER, NAME = sys.argv[1:]
    if NAME.isdecimal():
        with_deepspeed(FOLDER, int(NAME), by_program=NAME == "2")
    else:
        algorithm(NAME).save(os.path.join(FOLDER, "model.zip"))
