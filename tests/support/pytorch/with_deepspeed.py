"""A program of DeepSpeed on the CPU: `with_deepspeed.py FOLDER STAGE TYPE RANKS [CHECKPOINT…]`.

It trains 7 steps, saves the tag `whole` in FOLDER, trains 5 more and saves its weights as `FOLDER/end.pt`; or it goes
on from each CHECKPOINT and prints how far its weights are from those. Every number of ranks trains on the same batches.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from typing import Any

BEFORE, AFTER, BATCH = 7, 12, 8


def _engine(stage: int, kind: str, ranks: int) -> Any:
    deepspeed: Any = importlib.import_module("deepspeed")
    torch: Any = importlib.import_module("torch")
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3))
    groups = [
        {"params": [each for each in model.parameters() if each.dim() > 1], "weight_decay": 0.1},
        {"params": [each for each in model.parameters() if each.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.01)
    settings = {
        "train_micro_batch_size_per_gpu": BATCH // ranks, "steps_per_print": 10**9,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {"stage": stage, **({"stage3_param_persistence_threshold": 0} if stage == 3 else {})},
        "bf16": {"enabled": kind == "bf16"},
    }  # fmt: skip
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, lr_scheduler=scheduler, config=settings)
    return engine


def _train(engine: Any, steps: range, kind: str, rank: int, ranks: int) -> None:
    torch: Any = importlib.import_module("torch")
    own = slice(rank * BATCH // ranks, (rank + 1) * BATCH // ranks)
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        x, y = (torch.randn(BATCH, size, generator=generator)[own] for size in (5, 3))
        if kind == "bf16":
            x, y = x.bfloat16(), y.bfloat16()
        engine.backward(((engine(x) - y) ** 2).mean())
        engine.step()


def _weights(engine: Any) -> dict[str, Any]:
    masters: Any = importlib.import_module("deepspeed.utils").safe_get_full_fp32_param
    found = {name: (each, masters(each)) for name, each in engine.module.named_parameters()}
    return {name: (own if master is None else master).detach().clone() for name, (own, master) in found.items()}


def rank_main(rank: int, port: int, folder: str, stage: int, kind: str, ranks: int, checkpoints: list[str]) -> None:
    """What one rank does."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(ranks), LOCAL_WORLD_SIZE=str(ranks), LOCAL_SIZE=str(ranks),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port),
    )  # fmt: skip
    torch: Any = importlib.import_module("torch")
    deepspeed: Any = importlib.import_module("deepspeed")
    importlib.import_module("deepspeed.utils").logger.setLevel("ERROR")
    vars(importlib.import_module("deepspeed.comm.torch"))["build_shm_op"] = lambda: None  # it would be compiled
    deepspeed.init_distributed("gloo", verbose=False)
    if not checkpoints:
        engine = _engine(stage, kind, ranks)
        _train(engine, range(BEFORE), kind, rank, ranks)
        engine.save_checkpoint(folder, tag="whole")
        _train(engine, range(BEFORE, AFTER), kind, rank, ranks)
        weights = _weights(engine)
        if rank == 0:
            torch.save(weights, os.path.join(folder, "end.pt"))
    for path in checkpoints:
        engine = _engine(stage, kind, ranks)
        engine.load_checkpoint(".", tag=os.path.abspath(path))
        _train(engine, range(BEFORE, AFTER), kind, rank, ranks)
        weights = _weights(engine)
        if rank == 0:
            end = torch.load(os.path.join(folder, "end.pt"))
            far = max(float((weights[name] - each).abs().max()) for name, each in end.items())
            sys.stdout.write(f"{path} {far}\n")
            sys.stdout.flush()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    os.environ.update(DS_ACCELERATOR="cpu", DS_BUILD_OPS="0", OMP_NUM_THREADS="1", CUDA_VISIBLE_DEVICES="")
    own_folder, own_stage, own_type, own_ranks, *given = sys.argv[1:]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        own_port = free.getsockname()[1]
    arguments = (own_port, own_folder, int(own_stage), own_type, int(own_ranks), given)
    if int(own_ranks) == 1:
        rank_main(0, *arguments)
    else:
        importlib.import_module("torch.multiprocessing").spawn(rank_main, args=arguments, nprocs=int(own_ranks))
