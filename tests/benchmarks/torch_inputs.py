"""The benchmarks' inputs that PyTorch and Orbax write themselves.

`python torch_inputs.py NAME FOLDER` writes one and prints its path.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["JAX_PLATFORMS"] = "cpu"
MANY = 10_000
"""Parameters of the large checkpoints: with both moments, 30,000 tensors."""


def _trained(layers: int, width: int) -> dict[str, Any]:
    """A model of dense layers after a step of Adam."""
    import torch

    torch.manual_seed(7)
    net = torch.nn.Sequential(*[torch.nn.Linear(width, width) for _ in range(layers)])
    optimizer = torch.optim.AdamW(net.parameters())
    for each in net.parameters():
        each.grad = torch.randn_like(each)
    optimizer.step()
    return {"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": 1}


def _named() -> dict[str, Any]:
    """10,000 small weights by the names of blocks and layers."""
    import torch

    return {f"block_{number // 16:05d}.layer_{number % 16:02d}.weight": torch.zeros(2, 2) for number in range(MANY)}


def small_torch(folder: Path) -> str:
    """Two dense layers and AdamW."""
    import torch

    torch.save(_trained(2, 8), folder / "small.pt")
    return str(folder / "small.pt")


def torch_395_mb(folder: Path) -> str:
    """60 dense layers and AdamW: 395 MB."""
    import torch

    torch.save(_trained(60, 740), folder / "layers.pt")
    return str(folder / "layers.pt")


def torch_2_gb(folder: Path) -> str:
    """10 dense layers of 4096 x 4096 and AdamW: 2 GB."""
    import torch

    torch.save(_trained(10, 4096), folder / "large.pt")
    return str(folder / "large.pt")


def many_torch(folder: Path, *, archive: bool = True) -> str:
    """10,000 parameters with Adam's moments."""
    import torch

    weights = _named()
    state = {
        number: {"step": torch.tensor(7.0), "exp_avg": torch.zeros(2, 2), "exp_avg_sq": torch.zeros(2, 2)}
        for number in range(MANY)
    }
    groups = [{**torch.optim.Adam([torch.zeros(1)]).state_dict()["param_groups"][0], "params": [*range(MANY)]}]
    whole = {"model": weights, "optimizer": {"state": state, "param_groups": groups}}
    torch.save(whole, folder / "many.pt", _use_new_zipfile_serialization=archive)
    return str(folder / "many.pt")


def many_legacy(folder: Path) -> str:
    """The same as a stream, as torch wrote before 1.6."""
    return many_torch(folder, archive=False)


def small_distributed(folder: Path) -> str:
    """Two dense layers and AdamW, as a distributed checkpoint."""
    from torch.distributed.checkpoint.state_dict_saver import save

    save(_trained(2, 8), checkpoint_id=folder / "small-dcp")
    return str(folder / "small-dcp")


def many_distributed(folder: Path) -> str:
    """The 10,000 weights as a distributed checkpoint."""
    from torch.distributed.checkpoint.state_dict_saver import save

    save({"model": _named()}, checkpoint_id=folder / "dcp")
    return str(folder / "dcp")


def many_safetensors(folder: Path) -> str:
    """30,000 tensors as safetensors."""
    import torch

    save_file = importlib.import_module("safetensors.torch").save_file
    names = [f"{name}.{kind}" for name in _named() for kind in ("w", "m", "v")]
    save_file({name: torch.zeros(2, 2) for name in names}, folder / "many.safetensors")
    return str(folder / "many.safetensors")


def _tree(parameters: int) -> dict[str, Any]:
    """Parameters of JAX with Adam's moments."""
    import numpy as np
    import optax

    params = {f"layer_{number:05d}": {"kernel": np.zeros((2, 2), np.float32)} for number in range(parameters)}
    return {"params": params, "opt_state": optax.adam(1e-3).init(params), "step": 7}


def many_orbax(folder: Path) -> str:
    """10,000 parameters of JAX with Adam's moments, by Orbax."""
    import orbax.checkpoint as ocp

    ocp.PyTreeCheckpointer().save(folder / "orbax", _tree(MANY))
    return str(folder / "orbax")


def many_flax(folder: Path) -> str:
    """The same by flax."""
    serialization = importlib.import_module("flax.serialization")

    path = folder / "many.msgpack"
    path.write_bytes(serialization.to_bytes(_tree(MANY)))
    return str(path)


INPUTS: dict[str, Callable[[Path], str]] = {
    each.__name__: each
    for each in (
        small_torch, torch_395_mb, torch_2_gb, many_torch, many_legacy, small_distributed, many_distributed,
        many_safetensors, many_orbax, many_flax,
    )
}  # fmt: skip

if __name__ == "__main__":
    sys.stdout.write(INPUTS[sys.argv[1]](Path(sys.argv[2])) + "\n")
