"""Scripts for what has a loader of its own: DeepSpeed, stable-baselines3, safetensors."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ckptdoctor import storage
from ckptdoctor.diagnosis.status import summary
from ckptdoctor.errors import NoRecipe
from ckptdoctor.formats.torch.baselines import algorithm
from ckptdoctor.formats.torch.deepspeed import launched
from ckptdoctor.recipes import torch
from ckptdoctor.recipes.proof import close, compared, norm_of
from ckptdoctor.recipes.writing import MODEL, SCHEDULER, Gap, Script, literal, model_gap
from ckptdoctor.state import OptimizerState, TrainingState

_PARTITIONED = "optimizer_state_dict"
_COUNTED = {"num_timesteps": "num_timesteps", "n_updates": "_n_updates"}


def baselines(state: TrainingState, path: str) -> Script:
    """The algorithm's own `load`, which makes its policy and optimizers from what the archive says of them."""
    known = algorithm(path)
    gaps: tuple[Gap, ...] = ()
    imports = ["import torch"]
    if known is None:
        gaps = (Gap("algorithm()", "The class of the program's algorithm, which the archive does not name."),)
        loading = "model = algorithm().load(PATH, device=device)"
    else:
        imports.append(f"from {known[0]} import {known[1]}")
        more = "  # or DDPG, which is a TD3 with other settings" if known[1] == "TD3" else ""
        loading = f"model = {known[1]}.load(PATH, device=device){more}"
    proof: list[str] = []
    for name, attribute in _COUNTED.items():
        if name in state.counters:
            proof += compared(name, f"model.{attribute}", state.counters[name])
    for each in state.optimizers:
        proof += torch.proven(each, f"model.{each.name.removesuffix('.pth')}")
    package = "sb3-contrib" if known is not None and known[0].startswith("sb3") else "stable-baselines3"
    return Script(
        title=summary(state),
        framework=f"stable-baselines3 {state.producer.version or ''}".rstrip(),
        packages=(package, "torch"),
        imports=tuple(imports),
        path=path,
        gaps=gaps,
        body=(
            'device = "cuda" if torch.cuda.is_available() else "cpu"',
            "# As the archive has them: policy and optimizers, their counts and settings. To train on:",
            "#     model.set_env(your_environment)",
            "#     model.load_replay_buffer(...)  # of algorithms that have one; model.save leaves it out",
            "#     model.learn(total_timesteps=..., reset_num_timesteps=False)",
            loading,
        ),
        proof=tuple(proof),
        gives="model",
        notes=("it unpickles spaces and schedules, which runs code: only if you trust the archive",),
    )


def deepspeed(state: TrainingState, path: str) -> Script:
    """`engine.load_checkpoint` on as many ranks, with the configuration that the checkpoint has."""
    run = launched(path)
    gaps: list[Gap] = [model_gap(state, "The program's own model, as it was trained.")]
    body = [
        "# One process needs no launcher; several are started by `deepspeed` or `torchrun`, which set these.",
        'for name, value in {"RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 1, "MASTER_PORT": 29500}.items():',
        "    os.environ.setdefault(name, str(value))",
        'os.environ.setdefault("MASTER_ADDR", "127.0.0.1")',
        f"written = os.path.join(PATH, {literal(run.file)})",
        "# The configuration is the program's own, as it gave it to deepspeed.initialize; the file is a pickle.",
        'config = torch.load(written, map_location="cpu", weights_only=False)["ds_config"]',
        f"model = {MODEL}()",
        torch.NAMED,
    ]
    given = "model=model, model_parameters=model.parameters(), config=config"
    if run.by_program and state.optimizers:
        body += torch.made(state.optimizers[0], state, gaps, "optimizer")
        given = "model=model, optimizer=optimizer, config=config"
        if state.schedulers:
            says = "The learning-rate scheduler of the program, which made it as it made the optimizer."
            gaps.append(Gap(f"{SCHEDULER}(optimizer)", says))
            given += f", lr_scheduler={SCHEDULER}(optimizer)"
    body += [
        f"engine, optimizer, _, scheduler = deepspeed.initialize({given})",
        "# It goes on from there: engine(batch), engine.backward(loss), engine.step()",
        "loaded, client_state = engine.load_checkpoint(os.path.dirname(PATH), tag=os.path.basename(PATH))",
        'assert loaded is not None, "DeepSpeed found nothing to load"',
    ]
    proof: list[str] = []
    if "global_steps" in state.counters:
        proof += compared("global_steps", "engine.global_steps", state.counters["global_steps"])
    for each in state.optimizers[:1]:
        proof += _of_partitions(each)
    for one in state.schedulers[:1]:
        if one.last_epoch is not None and "last_epoch" in one.stored:
            proof += compared("the scheduler's count", 'scheduler.state_dict()["last_epoch"]', one.last_epoch)
    several = f"it was saved by {run.ranks} ranks, and only as many load it: torchrun --nproc_per_node {run.ranks}"
    return Script(
        title=summary(state),
        framework=f"DeepSpeed {state.producer.version or ''}".rstrip(),
        packages=("deepspeed", "torch"),
        imports=("import deepspeed", "import torch"),
        path=path,
        gaps=tuple(gaps),
        body=torch.without_unused(body),
        proof=tuple(proof),
        gives="engine, client_state",
        notes=(
            *((several,) if run.ranks > 1 else ()),
            "without DeepSpeed: ckptdoctor convert makes one file of it that torch.load takes",
        ),
    )


def safetensors(state: TrainingState, path: str) -> Script:
    """Weights into the program's model; state of optimizers, under whatever names, is the program's own matter.

    Raises:
        NoRecipe: There are no weights in it.
    """
    if not state.variables or state.optimizers:
        raise NoRecipe(
            "no script restores an optimizer in a safetensors file: safetensors.torch.load_file(PATH) has its tensors, "
            "and the program knows whose they are",
            path,
        )
    held = [each for each in state.variables if "float" in each.tensor.dtype]
    told = next(((each, norm) for each in held if (norm := norm_of([each.tensor])) is not None), None)
    proof: list[str] = []
    if told is not None:
        proof = close("a weight", f"float(model.state_dict()[{literal(told[0].path)}].double().norm())", told[1])
    loading, imports = ["weights = safetensors.torch.load_file(PATH)"], ["import safetensors.torch"]
    if storage.is_dir(path):
        imports = ["from pathlib import Path", "", *imports]
        loading = [
            "weights = {}",
            'for file in sorted(Path(PATH).glob("*model*.safetensors")):',
            "    weights.update(safetensors.torch.load_file(file))",
        ]
    return Script(
        title=summary(state),
        framework="safetensors and PyTorch",
        packages=("safetensors", "torch"),
        imports=tuple(imports),
        path=path,
        gaps=(model_gap(state, "The program's own model, as it was trained."),),
        body=(
            f"model = {MODEL}()",
            "# Tied weights are stored once: what is missing then is the other name of a tensor that is here.",
            *loading,
            "missing, unexpected = model.load_state_dict(weights, strict=False)",
            'assert not unexpected, f"the model has no {unexpected}"',
        ),
        proof=tuple(proof),
        gives="model",
        notes=("there is no optimizer in it: training goes on with a new one, or with that of a file beside it",),
    )


def _of_partitions(each: OptimizerState) -> list[str]:
    """The proof of an optimizer whose state is cut into partitions: the norm of one kind of slot, over all of them."""
    lines = [
        'held = getattr(engine.optimizer, "optimizer", engine.optimizer)',
        "states = [one for one in held.state.values() if one]",
    ]
    if each.iterations is not None and (each.iterations_key or "").endswith("/step"):
        lines += compared("the optimizer's count", 'sorted({int(one["step"]) for one in states})', [each.iterations])
    kinds: Mapping[str, float | None] = {
        name: norm_of(slot.tensor for slot in each.slots if slot.name == name)
        for name in dict.fromkeys(slot.name for slot in each.slots)
    }
    name, norm = next(((name, norm) for name, norm in kinds.items() if norm is not None), ("", None))
    if norm is not None and math.isfinite(norm):
        lines.append(f"squares = sum(one[{literal(name)}].double().square().sum() for one in states)")
        if each.name == _PARTITIONED:
            lines.append("torch.distributed.all_reduce(squares)  # each rank has its own part")
        lines += close(name, "math.sqrt(float(squares))", norm)
    return lines
