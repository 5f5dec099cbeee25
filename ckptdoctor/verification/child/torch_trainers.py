"""Trainers above PyTorch resume with the program's own model, and are stopped before the first step.

Lightning's `trainer.fit(ckpt_path=)`, transformers' `trainer.train(resume_from_checkpoint=)`, accelerate's
`load_state`: what the optimizers then hold is what training would go on with.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from ckptdoctor.verification.child.attempts import Attempt, Said, Unproven
from ckptdoctor.verification.child.snapshot import Store
from ckptdoctor.verification.child.torch_loading import everything, refused, torch
from ckptdoctor.verification.child.torch_optimizers import check, take
from ckptdoctor.verification.child.torch_programs import (
    Program,
    built,
    named_keys,
    require_class,
    saved_for,
    scheduler_counts,
)

_PARTS = re.compile(r"(?:model|pytorch_model|optimizer|scheduler)(?:[_-].*)?\.(?:bin|safetensors|json)\Z|scaler\.pt\Z")
_OPTIONS = {
    "AdamW": "adamw_torch",
    "Adam": "adamw_torch",
    "SGD": "sgd",
    "RMSprop": "rmsprop",
    "Adagrad": "adagrad",
    "Adafactor": "adafactor",
}
"""Class → what `TrainingArguments(optim=)` calls it."""
_STEPS = 1_000_000


class _Stopped(Exception):
    """The trainer stands before its first step."""


def attempts(framework: Any, request: dict[str, Any]) -> Iterator[Attempt]:
    """The one call that each trainer has."""
    if framework.name == "transformers":
        call = "trainer.train(resume_from_checkpoint=path)"
        yield Attempt("torch-trainer", call, lambda: _transformers(framework.keras, request))
    elif framework.name == "accelerate":
        yield Attempt("torch-accelerate", "accelerator.load_state(path)", lambda: _accelerate(framework.keras, request))
    else:
        yield Attempt("torch-lightning", "trainer.fit(model, ckpt_path=path)", lambda: _lightning(framework, request))


def _taken(
    request: dict[str, Any], optimizers: list[Any], schedulers: list[Any], names: dict[int, str], *, whole: bool = True
) -> list[dict[str, Any]]:
    """What optimizers hold, each against the artifact's of the same place.

    Args:
        request: The request.
        optimizers: All that the program has.
        schedulers: All that it has, in the order of their optimizers.
        names: Identities of its parameters → their names.
        whole: That is the program as it trains: a scheduler that it does not make is lost.

    Raises:
        Said: The program has no optimizer in that place.
    """
    tree = everything(request)
    store = Store(request)
    taken = []
    left = list(schedulers)
    for wanted in request["optimizers"]:
        if wanted["index"] >= len(optimizers):
            raise Said(f"the program has no optimizer for {wanted['name']}: its state is dropped without a word")
        optimizer = optimizers[wanted["index"]]
        made = {each["name"]: left.pop(0) if left else None for each in wanted["schedulers"] if left or whole}
        keys = named_keys(optimizer, saved_for(tree, wanted))
        taken.append(take(optimizer, keys, store, names, schedulers=scheduler_counts(made)))
        require_class(optimizer, wanted)
        check(optimizer)
    return taken


def _lightning(framework: Any, request: dict[str, Any]) -> list[dict[str, Any]]:
    everything(request)  # what torch.load refuses is not loaded without its rules either
    pl: Any = import_module("lightning.pytorch" if framework.name == "lightning" else "pytorch_lightning")
    answer = built(request["script"])
    model, data = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)  # noqa: PLR2004
    if not isinstance(model, pl.LightningModule):
        raise Unproven(
            f"the function of --model-script answers with {type(model).__name__}; verify needs a LightningModule, or "
            "(LightningModule, LightningDataModule)"
        )
    taken: list[dict[str, Any]] = []

    class Stop(pl.Callback):  # type: ignore[misc]
        """Looks at the optimizers before the first step, and ends the run there."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            names = {id(each): name for name, each in pl_module.named_parameters()}
            schedulers = [each.scheduler for each in trainer.lr_scheduler_configs]
            taken.extend(_taken(request, trainer.optimizers, schedulers, names))
            raise _Stopped

    trainer = pl.Trainer(
        accelerator="cpu", devices=1, max_epochs=-1, logger=False, enable_checkpointing=False, num_sanity_val_steps=0,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=request["folder"], callbacks=[Stop()],
        limit_val_batches=0,
    )  # fmt: skip
    arguments: dict[str, Any] = {"ckpt_path": request["path"]}
    if "weights_only" in inspect.signature(trainer.fit).parameters:
        arguments["weights_only"] = True
    if data is not None:
        arguments["datamodule"] = data
    elif type(model).train_dataloader is pl.LightningModule.train_dataloader:
        arguments["train_dataloaders"] = torch().utils.data.DataLoader([0.0])
    _until_stopped(lambda: trainer.fit(model, **arguments), taken)
    return taken


def _until_stopped(run: Any, taken: list[dict[str, Any]]) -> None:
    try:
        run()
    except _Stopped:
        return
    except Exception as error:
        what = refused(error)
        if what:
            raise Said(f"its torch.load(weights_only=True) refuses {what}") from error
        raise
    if not taken:
        raise Said("the trainer ended before its first step: it takes the run for finished")


def _transformers(package: Any, request: dict[str, Any]) -> list[dict[str, Any]]:
    everything(request)
    answer = built(request["script"])
    trainer = answer if isinstance(answer, package.Trainer) else _trainer(package, answer, request)
    taken: list[dict[str, Any]] = []

    class Stop(package.TrainerCallback):  # type: ignore[misc]
        """Looks at the optimizer before the first step, and ends the run there."""

        def on_step_begin(self, args: Any, state: Any, control: Any, **held: Any) -> None:  # noqa: ARG002
            names = {id(each): name for name, each in held["model"].named_parameters()}
            optimizer = getattr(held["optimizer"], "optimizer", held["optimizer"])
            taken.extend(_taken(request, [optimizer], [held["lr_scheduler"]], names))
            raise _Stopped

    trainer.add_callback(Stop())
    trainer.args.ignore_data_skip = True  # which batches were seen is no state of the optimizer, and takes long
    _until_stopped(lambda: trainer.train(resume_from_checkpoint=request["path"]), taken)
    return taken


def _trainer(package: Any, model: Any, request: dict[str, Any]) -> Any:
    """A Trainer around a model, with the optimizer that the checkpoint is of."""
    if not isinstance(model, torch().nn.Module):
        raise Unproven(
            f"the function of --model-script answers with {type(model).__name__}; verify needs a model or a Trainer"
        )
    kind = _OPTIONS.get(request["optimizers"][0]["class"] or "")
    if kind is None:
        raise Unproven(
            f"Trainer has no argument for {request['optimizers'][0]['class'] or 'this optimizer'}: let the function of "
            "--model-script answer with the program's own Trainer"
        )
    accepted = inspect.signature(package.TrainingArguments.__init__).parameters
    wanted: dict[str, Any] = {
        "output_dir": os.path.join(request["folder"], "run"), "max_steps": _STEPS, "optim": kind, "report_to": [],
        "save_strategy": "no", "disable_tqdm": True, "use_cpu": True, "no_cuda": True,
    }  # fmt: skip
    if "use_cpu" in accepted:  # what came after no_cuda
        del wanted["no_cuda"]
    arguments = package.TrainingArguments(**{name: value for name, value in wanted.items() if name in accepted})
    return package.Trainer(model=model, args=arguments, train_dataset=[{"input_ids": [0]}] * 8)


def _accelerate(package: Any, request: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts that hold models, optimizers and schedulers: others may have the program's own pickles."""
    everything(request)
    program = Program(request["script"])
    folder = os.path.join(request["folder"], "state")
    os.makedirs(folder)
    for name in os.listdir(request["path"]):
        if _PARTS.match(name):
            os.symlink(os.path.join(request["path"], name), os.path.join(folder, name))
    accelerator = package.Accelerator(cpu=True)
    optimizers = program.optimizers or [program.optimizer(each) for each in request["optimizers"]]
    accelerator.prepare(program.model, *optimizers, *program.schedulers)
    accelerator.load_state(folder)
    schedulers = [getattr(each, "scheduler", each) for each in program.schedulers]
    return _taken(request, optimizers, schedulers, program.names, whole=False)
