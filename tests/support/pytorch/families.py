"""The same run by each program above PyTorch: `families.py FAMILY FOLDER [CHECKPOINT…]`.

It trains 7 steps and saves in FOLDER `whole`, `blank` (the optimizer is another one's) and, where the family has that,
`bare` (no optimizer), trains 5 more and saves `end.pt`; or it goes on from each CHECKPOINT and prints how far it ends
from that. Every step is on the same batch, so that no order of data matters; every model has the names of that of
stable-baselines3's A2C.
"""

from __future__ import annotations

import importlib
import io
import os
import shutil
import socket
import sys
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import torch

BEFORE, AFTER = 7, 12
Weights = dict[str, Any]


class Net(torch.nn.Module):
    """Two heads, as A2C has without hidden layers; answers with its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.action_net = torch.nn.Linear(4, 2)
        self.value_net = torch.nn.Linear(4, 1)

    def forward(self, x: Any, labels: Any = None) -> dict[str, Any]:
        """Loss."""
        return {"loss": loss(self, x, labels)}


def loss(heads: Any, x: Any, labels: Any) -> Any:
    """Of both heads."""
    return (torch.cat([heads.action_net(x), heads.value_net(x)], 1) - labels).pow(2).mean()


def rows() -> list[dict[str, Any]]:
    """The same row again and again."""
    generator = torch.Generator().manual_seed(5)
    x, y = torch.randn(4, generator=generator), torch.randn(3, generator=generator)
    return [{"x": x, "labels": y}] * 64


def batch() -> dict[str, Any]:
    """A batch of it."""
    return {name: torch.stack([each[name] for each in rows()[:4]]) for name in ("x", "labels")}


def net() -> Net:
    """The model as all begin with it."""
    torch.manual_seed(2)
    return Net()


def adamw(model: Any) -> Any:
    """The optimizer of all."""
    return torch.optim.AdamW(model.parameters(), 0.01, weight_decay=0.0)


def copied(model: Any) -> Weights:
    """Its weights now, by their last two names."""
    return {".".join(name.split(".")[-2:]): each.detach().clone() for name, each in model.named_parameters()}


def train(model: Any, optimizer: Any, steps: int) -> None:
    """Plain steps."""
    for _ in range(steps):
        optimizer.zero_grad()
        loss(model, **batch()).backward()
        optimizer.step()


def blanked(node: Any) -> Any:
    """The same with the state and the rate of another run."""
    for key, each in list(node.items() if isinstance(node, dict) else enumerate(node)):
        if key in {"exp_avg", "exp_avg_sq"}:
            node[key] = torch.full_like(each, 0.25)
        elif key == "step" and isinstance(each, torch.Tensor):
            node[key] = torch.full_like(each, 3.0)
        elif isinstance(each, (dict, list)):
            blanked(each)
    if isinstance(node, dict) and "betas" in node:
        node["lr"] = 0.5
    return node


def _rewritten(path: str) -> None:
    torch.save(blanked(torch.load(path, weights_only=False)), path)


# ------------------------------------------------------------------------------------------------- files of torch.save


def _file(*, legacy: bool) -> tuple[Callable[[str], Weights], Callable[[str, str], Weights]]:
    def make(folder: str) -> Weights:
        model = net()
        optimizer = adamw(model)
        train(model, optimizer, BEFORE)
        more = {"_use_new_zipfile_serialization": not legacy}
        whole = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(whole, f"{folder}/whole.pt", **more)
        torch.save({"model": model.state_dict()}, f"{folder}/bare.pt", **more)
        torch.save(blanked(torch.load(f"{folder}/whole.pt")), f"{folder}/blank.pt", **more)
        train(model, optimizer, AFTER - BEFORE)
        return copied(model)

    def resume(_: str, path: str) -> Weights:
        saved = torch.load(path, weights_only=True)
        model = net()
        optimizer = adamw(model)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        train(model, optimizer, AFTER - BEFORE)
        return copied(model)

    return make, resume


# ------------------------------------------------------------------------------------------------------------ Lightning


def _lightning(folder: str, path: str | None) -> Weights:
    lightning: Any = importlib.import_module("lightning")

    class Module(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = net()

        def training_step(self, held: Any, _: int) -> Any:
            return self.net(**held)["loss"]

        def configure_optimizers(self) -> Any:
            return adamw(self)

    class Saving(lightning.Callback):  # type: ignore[misc]
        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            if path is None and trainer.global_step == BEFORE:
                trainer.save_checkpoint(f"{folder}/whole.ckpt")
                trainer.save_checkpoint(f"{folder}/bare.ckpt", weights_only=True)

    trainer = lightning.Trainer(
        max_steps=AFTER, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
        enable_model_summary=False, callbacks=[Saving()],
    )  # fmt: skip
    module = Module()
    trainer.fit(module, torch.utils.data.DataLoader(rows(), batch_size=4), ckpt_path=path)  # type: ignore[arg-type]
    if path is None:
        shutil.copy(f"{folder}/whole.ckpt", f"{folder}/blank.ckpt")
        _rewritten(f"{folder}/blank.ckpt")
    return copied(module)


# --------------------------------------------------------------------------------------------------------- transformers


def _trainer(folder: str, path: str | None) -> Weights:
    transformers: Any = importlib.import_module("transformers")
    transformers.logging.set_verbosity_error()
    arguments = transformers.TrainingArguments(
        output_dir=f"{folder}/run", max_steps=AFTER, save_steps=BEFORE, per_device_train_batch_size=4, report_to=[],
        learning_rate=0.01, lr_scheduler_type="constant", use_cpu=True, disable_tqdm=True, weight_decay=0.0,
        max_grad_norm=0.0, logging_strategy="no", save_strategy="steps" if path is None else "no",
    )  # fmt: skip
    trainer = transformers.Trainer(model=net(), args=arguments, train_dataset=rows())
    trainer.train(resume_from_checkpoint=path)
    if path is None:
        for name in ("whole", "blank", "bare"):
            shutil.copytree(f"{folder}/run/checkpoint-{BEFORE}", f"{folder}/{name}")
        _rewritten(f"{folder}/blank/optimizer.pt")
        for name in ("optimizer.pt", "scheduler.pt"):
            os.unlink(f"{folder}/bare/{name}")
    return copied(trainer.model)


def _accelerate(folder: str, path: str | None) -> Weights:
    accelerator = importlib.import_module("accelerate").Accelerator(cpu=True)
    model = net()
    model, optimizer = accelerator.prepare(model, adamw(model))
    if path is None:
        train(model, optimizer, BEFORE)
        accelerator.save_state(f"{folder}/whole")
        for name in ("blank", "bare"):
            shutil.copytree(f"{folder}/whole", f"{folder}/{name}")
        _rewritten(f"{folder}/blank/optimizer.bin")
        os.unlink(f"{folder}/bare/optimizer.bin")
    else:
        accelerator.load_state(path)
    train(model, optimizer, AFTER - BEFORE)
    return copied(model)


# ---------------------------------------------------------------------------------------------------------- directories


def _distributed(folder: str, path: str | None) -> Weights:
    dcp: Any = importlib.import_module("torch.distributed.checkpoint")
    states: Any = importlib.import_module("torch.distributed.checkpoint.state_dict")
    model = net()
    optimizer = adamw(model)
    if path is None:
        train(model, optimizer, BEFORE)
        weights, state = states.get_state_dict(model, optimizer)
        dcp.save({"model": weights, "optimizer": state}, checkpoint_id=f"{folder}/whole")
        dcp.save({"model": weights}, checkpoint_id=f"{folder}/bare")
        other = net()
        begun = adamw(other)
        train(other, begun, 2)
        _, state = states.get_state_dict(other, begun)
        dcp.save({"model": weights, "optimizer": blanked(state)}, checkpoint_id=f"{folder}/blank")
    else:
        weights, state = states.get_state_dict(model, optimizer)
        dcp.load({"model": weights, "optimizer": state}, checkpoint_id=path)
        states.set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=state)
    train(model, optimizer, AFTER - BEFORE)
    return copied(model)


def _deepspeed(folder: str, path: str | None) -> Weights:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(
        DS_ACCELERATOR="cpu", DS_BUILD_OPS="0", RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", LOCAL_WORLD_SIZE="1",
        LOCAL_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=os.environ.get("MASTER_PORT", str(port)),
    )  # fmt: skip
    deepspeed: Any = importlib.import_module("deepspeed")
    importlib.import_module("deepspeed.utils").logger.setLevel("ERROR")
    vars(importlib.import_module("deepspeed.comm.torch"))["build_shm_op"] = lambda: None  # it would be compiled
    deepspeed.init_distributed("gloo", verbose=False)
    model = net()
    settings = {
        "train_batch_size": 4, "zero_allow_untested_optimizer": True, "zero_optimization": {"stage": 1},
        "gradient_clipping": 0.0,
    }  # fmt: skip
    engine, *_ = deepspeed.initialize(model=model, optimizer=adamw(model), config=settings)
    if path is not None:
        engine.load_checkpoint(".", tag=os.path.abspath(path))
    for number, count in enumerate((BEFORE if path is None else 0, AFTER - BEFORE)):
        for _ in range(count):
            engine.backward(engine(**batch())["loss"])
            engine.step()
        if path is None and number == 0:
            engine.save_checkpoint(folder, tag="whole")
            shutil.copytree(f"{folder}/whole", f"{folder}/blank")
            for name in os.listdir(f"{folder}/blank"):
                _rewritten(f"{folder}/blank/{name}")
    return copied(engine.module)


def _baselines(folder: str, path: str | None) -> Weights:
    kind: Any = importlib.import_module("stable_baselines3").A2C
    if path is None:
        own = {"net_arch": [], "optimizer_class": torch.optim.AdamW, "optimizer_kwargs": {"weight_decay": 0.0}}
        algorithm = kind("MlpPolicy", "CartPole-v1", 0.01, policy_kwargs=own, device="cpu")
        heads = {name: each for name, each in net().state_dict().items()}  # noqa: C416 - a copy
        algorithm.policy.load_state_dict(heads)
        train(algorithm.policy, algorithm.policy.optimizer, BEFORE)
        algorithm.save(f"{folder}/whole.zip")
        with zipfile.ZipFile(f"{folder}/whole.zip") as whole, zipfile.ZipFile(f"{folder}/blank.zip", "w") as blank:
            for member in whole.namelist():
                held = io.BytesIO(whole.read(member))
                if "optimizer" in member:
                    state = blanked(torch.load(held))
                    held = io.BytesIO()
                    torch.save(state, held)
                blank.writestr(member, held.getvalue())
    else:
        algorithm = kind.load(path, device="cpu")
    train(algorithm.policy, algorithm.policy.optimizer, AFTER - BEFORE)
    return copied(algorithm.policy)


def _one(function: Callable[[str, str | None], Weights]) -> tuple[Any, Any]:
    return (lambda folder: function(folder, None)), function


FAMILIES: dict[str, tuple[Callable[[str], Weights], Callable[[str, str], Weights]]] = {
    "zip": _file(legacy=False),
    "stream": _file(legacy=True),
    "lightning": _one(_lightning),
    "transformers": _one(_trainer),
    "accelerate": _one(_accelerate),
    "distributed": _one(_distributed),
    "deepspeed": _one(_deepspeed),
    "stable_baselines3": _one(_baselines),
}


def main(family: str, folder: str, checkpoints: list[str]) -> None:
    """Makes a run, or goes on from others' checkpoints."""
    make, resume = FAMILIES[family]
    if not checkpoints:
        torch.save(make(folder), f"{folder}/end.pt")
        return
    end = torch.load(f"{folder}/end.pt")
    for path in checkpoints:
        try:
            found = resume(folder, path)
            said = str(max(float((found[name] - each).abs().max()) for name, each in end.items()))
        except Exception as error:  # noqa: BLE001 - what a framework says of a checkpoint is what is asked for
            said = type(error).__name__
            sys.stderr.write(f"{path}: {error}\n")
        sys.stdout.write(f"{path} {said}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
