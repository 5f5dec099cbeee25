"""What PyTorch and its trainers save: files of torch.save, whoever called it."""

from functools import partial

from ckptdoctor.formats.contract import ArtifactFormat, Reader
from ckptdoctor.state import Format, Generation

_ROOM = "ckptdoctor.formats.torch"
_MASTERS = (
    "DeepSpeed goes on from weights in float32 that lie in its optimizer states: put them together with "
    "zero_to_fp32.py, which lies beside `latest`, and release that"
)
_BY_DEEPSPEED = (
    "only deepspeed itself loads it, on as many ranks as saved it, and verify does not start that: resume with "
    "model_engine.load_checkpoint(directory)"
)
_OF_TORCH = dict.fromkeys((".pt", ".pth", ".pth.tar"), "a file of torch.save")
_WRITING = f"{_ROOM}.writing"
_format = partial(
    ArtifactFormat, holds="named", configuration="optional", generations=(Generation.TORCH,),
    program=f"{_WRITING}.checkpoint:program",
)  # fmt: skip
"""What all of them have in common."""
_file = partial(
    _format, strip=f"{_WRITING}.stripping:strip_file",
    write=f"{_WRITING}.checkpoint:write", check=f"{_WRITING}.checkpoint:check", write_options=("progress",),
    adds_optimizers=True, mended=True,
)  # fmt: skip
"""What files of torch.save have."""
_directory = partial(
    _format, noun="checkpoint", write=f"{_WRITING}.directories:write", check=f"{_WRITING}.directories:check",
    write_options=("link", "progress"), adds_optimizers=True, mended=True,
)  # fmt: skip
"""What directories of such files have."""

FORMATS = (
    _file(
        Format.TORCH_CHECKPOINT,
        recipe="torch",
        title="PyTorch checkpoint",
        called="a file of torch.save",
        rename_to=".pt",
        endings=_OF_TORCH,
        ending=".pt",
        create=f"{_WRITING}.whole:create",
        verify="torch-file",
        release_hint="for a release, save the model alone: torch.save(model.state_dict(), path)",
        absent_hint="save it beside the model: torch.save({'model': model.state_dict(), 'optimizer': "
        "optimizer.state_dict()}, path); or put the state of another checkpoint here: {graft here}",
    ),
    _file(
        Format.LIGHTNING_CHECKPOINT,
        recipe="lightning",
        title="Lightning checkpoint",
        called="a checkpoint of Lightning",
        rename_to=".ckpt",
        endings={".ckpt": "a checkpoint of Lightning"},
        ending=".ckpt",
        verify="torch-lightning",
        release_hint="for a release, save it with trainer.save_checkpoint(path, weights_only=True)",
        absent_hint="save it with trainer.save_checkpoint(path), without weights_only; or put the state of another "
        "checkpoint here: {graft here}",
    ),
    _directory(
        Format.TORCH_DCP,
        recipe="distributed",
        title="distributed checkpoint of PyTorch",
        called="a directory of torch.distributed.checkpoint",
        rename_to="what it is: a directory",
        write=f"{_WRITING}.distributed:write",
        check=f"{_WRITING}.distributed:check",
        create=f"{_WRITING}.distributed:create",
        strip=f"{_WRITING}.stripping:strip_distributed",
        mended=False,
        verify="torch-distributed",
        release_hint="for a release, save the model alone: dcp.save({'model': get_model_state_dict(model)})",
        absent_hint="save both: model_state, optimizer_state = get_state_dict(model, optimizer), then dcp.save of them",
    ),
    _format(
        Format.DEEPSPEED,
        recipe="engine",
        restored_by="the engine of the program does, on as many ranks: engine.load_checkpoint(DIRECTORY, TAG)",
        write=f"{_WRITING}.deepspeed:write",
        check=f"{_WRITING}.deepspeed:check",
        write_options=("link", "progress"),
        unstrippable=_MASTERS,
        title="DeepSpeed checkpoint",
        called="a checkpoint of DeepSpeed",
        rename_to="what it is: a directory",
        noun="checkpoint",
        unverifiable=_BY_DEEPSPEED,
        release_hint="for a release, put the weights together with zero_to_fp32.py, which lies beside `latest`",
        absent_hint="save it with model_engine.save_checkpoint(directory) on every rank",
    ),
    _format(
        Format.STABLE_BASELINES3,
        recipe="baselines",
        restored_by="the class of its algorithm does, such as PPO.load(PATH)",
        write=f"{_WRITING}.baselines:write",
        check=f"{_WRITING}.baselines:check",
        write_options=("progress",),
        unstrippable="stable-baselines3 loads an archive with its optimizers only: save the policy alone, with "
        "model.policy.save(path)",
        title="stable-baselines3 archive",
        called="an archive of stable-baselines3",
        rename_to=".zip",
        verify="torch-archive",
        release_hint="for a release, save the policy alone: model.policy.save(path)",
        absent_hint="save it with model.save(path), not model.policy.save(path)",
    ),
    _directory(
        Format.HF_TRAINER,
        recipe="transformers",
        title="checkpoint of transformers' Trainer",
        called="a checkpoint of transformers' Trainer",
        rename_to="checkpoint-N: it is a directory",
        create=f"{_WRITING}.trainers:create",
        groups=2,  # with weight decay, and without
        schedules="LambdaLR",
        verify="torch-trainer",
        strip=f"{_WRITING}.stripping:strip_trainer",
        release_hint="for a release, save the model alone: trainer.save_model(path)",
        absent_hint="save_only_model=True left it out: train without it, or put the state of another checkpoint here: "
        "{graft here}",
    ),
    _directory(
        Format.ACCELERATE_STATE,
        recipe="accelerate",
        title="state of accelerate",
        called="what Accelerator.save_state leaves",
        rename_to="what it is: a directory",
        verify="torch-accelerate",
        strip=f"{_WRITING}.stripping:strip_accelerate",
        release_hint="for a release, save the model alone: accelerator.save_model(model, path)",
        absent_hint="save it with accelerator.save_state(path), after accelerator.prepare(optimizer); or put the state "
        "of another checkpoint here: {graft here}",
    ),
)
_TRAINER, _CLAIM, _LATEST = f"{_ROOM}.trainer", f"{_ROOM}.locating:claim", f"{_ROOM}.locating:latest"
_POINTS = f"{_ROOM}.locating:points"
READERS = (
    Reader(
        "torch",
        f"{_ROOM}.checkpoint:read",
        (Format.TORCH_CHECKPOINT, Format.LIGHTNING_CHECKPOINT),
        alone=f"{_ROOM}.checkpoint:read_alone",
    ),
    Reader("torch-parts", f"{_TRAINER}:read_parts", (Format.TORCH_CHECKPOINT,), _CLAIM),
    Reader("torch-dcp", f"{_ROOM}.distributed:read", (Format.TORCH_DCP,), _CLAIM),
    Reader("deepspeed", f"{_ROOM}.deepspeed:read", (Format.DEEPSPEED,), _CLAIM, points=_POINTS),
    Reader("stable-baselines3", f"{_ROOM}.baselines:read", (Format.STABLE_BASELINES3,)),
    Reader("hf-trainer", f"{_TRAINER}:read_trainer", (Format.HF_TRAINER,), _CLAIM, _LATEST, points=_POINTS),
    Reader("accelerate", f"{_TRAINER}:read_accelerate", (Format.ACCELERATE_STATE,), _CLAIM),
    Reader("pretrained", f"{_TRAINER}:read_pretrained", (Format.SAFETENSORS, Format.TORCH_CHECKPOINT), _CLAIM),
)
