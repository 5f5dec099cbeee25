"""Scripts for what trainers of PyTorch leave: Lightning, transformers' Trainer, accelerate, distributed checkpoints."""

from __future__ import annotations

from ckptdoctor.diagnosis.circumstances import CIRCUMSTANCES
from ckptdoctor.diagnosis.status import summary
from ckptdoctor.recipes import torch
from ckptdoctor.recipes.proof import compared
from ckptdoctor.recipes.writing import MODEL, Gap, Script, literal, model_gap
from ckptdoctor.state import TrainingState


def lightning(state: TrainingState, path: str) -> Script:
    """A fit that is over where the checkpoint stopped: Lightning restores all of it, and trains nothing."""
    steps = state.counters.get("global_step", 0)
    proof: list[str] = []
    for number, each in enumerate(state.optimizers):
        proof += torch.proven(each, f"trainer.optimizers[{number}]")
    proof += compared("global_step", "trainer.global_step", steps)
    return Script(
        title=summary(state),
        framework=f"Lightning {state.producer.version or ''}".rstrip(),
        packages=("lightning",),
        imports=(
            "import torch",
            "try:",
            "    import lightning.pytorch as pl",
            "except ImportError:  # before 2.0",
            "    import pytorch_lightning as pl",
        ),
        path=path,
        gaps=(model_gap(state, "The program's own LightningModule, as it was trained."),),
        body=(
            f"model = {MODEL}()",
            "trainer = pl.Trainer(",
            f'    max_steps={steps}, accelerator="cpu", logger=False, enable_checkpointing=False,',
            "    enable_progress_bar=False, enable_model_summary=False,",
            ")",
            "# All steps are done, so that no batch is asked for. To train on, give your own data and a later end:",
            "#     pl.Trainer(max_epochs=...).fit(model, your_data, ckpt_path=PATH)",
            "trainer.fit(model, torch.utils.data.DataLoader([0]), ckpt_path=PATH)",
        ),
        proof=tuple(proof),
        gives="model, trainer",
    )


def transformers(state: TrainingState, path: str) -> Script:
    """What `trainer.train(resume_from_checkpoint=PATH)` does before its first step."""
    steps = state.counters.get("max_steps") or state.counters.get("global_step") or 1
    proof: list[str] = []
    for each in state.optimizers[:1]:
        proof += torch.proven(each, "trainer.optimizer")
    if state.schedulers and state.schedulers[0].last_epoch is not None:
        proof += compared("the scheduler's count", "trainer.lr_scheduler.last_epoch", state.schedulers[0].last_epoch)
    return Script(
        title=summary(state),
        framework=f"transformers {state.producer.version or ''}".rstrip(),
        packages=("transformers", "accelerate", "torch"),
        imports=("import torch", "from transformers import Trainer, TrainingArguments"),
        path=path,
        gaps=(model_gap(state, "The program's own model, as it was trained."),),
        body=(
            'written = os.path.join(PATH, "training_args.bin")  # a pickle of the program\'s TrainingArguments',
            "if os.path.exists(written):",
            "    arguments = torch.load(written, weights_only=False)",
            "else:",
            '    arguments = TrainingArguments("restored")',
            f"trainer = Trainer(model={MODEL}(), args=arguments)",
            f"trainer.create_optimizer_and_scheduler(num_training_steps={steps})",
            "# The three calls by which trainer.train(resume_from_checkpoint=PATH), which needs your data, begins:",
            "trainer._load_from_checkpoint(PATH)",
            "trainer._load_optimizer_and_scheduler(PATH)",
            "trainer._load_rng_state(PATH)",
        ),
        proof=tuple(proof),
        gives="trainer",
        notes=("training_args.bin runs code when it is loaded: only if you trust the directory",),
    )


def accelerate(state: TrainingState, path: str) -> Script:
    """`accelerator.load_state` into what was prepared as before."""
    gaps: list[Gap] = [model_gap(state, "The program's own model, as it was trained.")]
    body = [
        "accelerator = accelerate.Accelerator(cpu=not torch.cuda.is_available())",
        f"model = {MODEL}()",
        torch.NAMED,
    ]
    proof: list[str] = []
    prepared = ["model"]
    for number, each in enumerate(state.optimizers):
        name = "optimizer" if number == 0 else f"optimizer_{number}"
        body += torch.made(each, state, gaps, name)
        prepared.append(name)
        proof += torch.proven(each, name)
    body += [f"{', '.join(prepared)} = accelerator.prepare({', '.join(prepared)})"] if len(prepared) > 1 else [
        "model = accelerator.prepare(model)"
    ]  # fmt: skip
    if state.schedulers:
        body.append("# A scheduler of the program's is registered as well: accelerator.prepare(scheduler)")
    body.append("accelerator.load_state(PATH)")
    return Script(
        title=summary(state),
        framework="accelerate",
        packages=("accelerate", "torch"),
        imports=("import accelerate", "import torch"),
        path=path,
        gaps=tuple(gaps),
        body=torch.without_unused(body),
        proof=tuple(proof),
        gives=", ".join(["accelerator", *prepared]),
    )


def distributed(state: TrainingState, path: str) -> Script:
    """`dcp.load` in one process, resharded to it, whatever number of processes wrote it."""
    gaps: list[Gap] = [model_gap(state, "The program's own model, as it was trained.")]
    body = [f"model = {MODEL}()", torch.NAMED]
    under = _model_key(state)
    model_state = "state" if under == "" else f"state[{literal(under)}]"
    if not state.optimizers:
        empty = "{}" if under == "" else f"{{{literal(under)}: {{}}}}"
        body += [f"state = {empty}", f"{model_state}.update(get_model_state_dict(model))"]
        body += ["dcp.load(state, checkpoint_id=PATH)", f"model.load_state_dict({model_state})"]
        return _dcp(state, path, gaps, body, [], "model")
    each = state.optimizers[0]
    body += torch.made(each, state, gaps, "optimizer")
    key = literal(each.name)
    if CIRCUMSTANCES["by-number"](state, each):
        body += [
            "# Its keys are numbers: dcp.load fills what is there, so that the optimizer takes a step first, whose",
            "# result is overwritten.",
            "for parameter in model.parameters():",
            "    parameter.grad = torch.zeros_like(parameter)",
            "optimizer.step()",
            f"state = {{{literal(under)}: model.state_dict(), {key}: optimizer.state_dict()}}",
            "dcp.load(state, checkpoint_id=PATH)",
            f"model.load_state_dict({model_state})",
            f"optimizer.load_state_dict(state[{key}])",
        ]
    else:
        body += [
            "weights, moments = get_state_dict(model, optimizer)",
            f"state = {{{literal(under)}: weights, {key}: moments}}",
            "dcp.load(state, checkpoint_id=PATH)",
            "set_state_dict(",
            f"    model, optimizer, model_state_dict={model_state}, optim_state_dict=state[{key}],",
            ")",
        ]
    return _dcp(state, path, gaps, body, _by_name(state, each.name), "model, optimizer")


def _by_name(state: TrainingState, name: str) -> list[str]:
    """The proof of an optimizer whose parameters are named in the file, and numbered in the program."""
    (each,) = [one for one in state.optimizers if one.name == name]
    lines = torch.proven(each, "optimizer")
    order = [variable for group in each.groups for variable in group.variables]
    found = []
    for line in lines:
        for number, variable in enumerate(order):
            line = line.replace(f'["state"][{literal(variable)}]', f'["state"][{number}]')  # noqa: PLW2901
        found.append(line)
    return found


def _model_key(state: TrainingState) -> str:
    """What the model stands under; "" where it stands alone."""
    first = state.variables[0] if state.variables else None
    if first is None or not first.tensor.key.endswith(first.path):
        return "model"
    return first.tensor.key[: len(first.tensor.key) - len(first.path)].strip("./")


def _dcp(state: TrainingState, path: str, gaps: list[Gap], body: list[str], proof: list[str], gives: str) -> Script:
    return Script(
        title=summary(state),
        framework="torch.distributed.checkpoint",
        packages=("torch",),
        imports=(
            "import torch",
            "import torch.distributed.checkpoint as dcp",
            "from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_state_dict, set_state_dict",
        ),
        path=path,
        gaps=tuple(gaps),
        body=torch.without_unused(body),
        proof=tuple(proof),
        gives=gives,
    )
