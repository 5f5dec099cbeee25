"""PyTorch's files and directories without what only training needs: optimizers, schedulers, scalers, random numbers.

Sources: transformers/trainer.py (`_save_checkpoint`), accelerate/checkpointing.py (`save_accelerator_state`),
lightning/pytorch/trainer/connectors/checkpoint_connector.py (`dump_checkpoint`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from ckptdoctor.containers.bytes.copying import Progress, copy_file, copy_tree
from ckptdoctor.containers.pickles.reading import Key, Node
from ckptdoctor.containers.torchfiles.distributed import read_directory
from ckptdoctor.containers.torchfiles.reading import load
from ckptdoctor.containers.torchfiles.writing.compacting import leave_out
from ckptdoctor.containers.torchfiles.writing.file import exchange
from ckptdoctor.containers.torchfiles.writing.splicing import GONE, Path
from ckptdoctor.errors import GraftRefused, Refused
from ckptdoctor.formats.contract import Stripped
from ckptdoctor.formats.torch.contents import Contents, contents, is_random, written
from ckptdoctor.formats.torch.distributed import read as read_distributed
from ckptdoctor.formats.torch.parts import load_part
from ckptdoctor.formats.torch.writing.distributed import is_within
from ckptdoctor.formats.torch.writing.sites import path_to
from ckptdoctor.references import TensorRef
from ckptdoctor.words import enumerate_some

_VERSION = "pytorch-lightning_version"
_OF_TRAINING = ("optimizer_states", "lr_schedulers", "loops", "callbacks")
"""What Lightning keeps of training; `state_dict` and `hyper_parameters` are what load_from_checkpoint needs."""
_OF_MODEL = frozenset({"state_dict", "hyper_parameters", "datamodule_hyper_parameters"})
_TRAINER = re.compile(
    r"(?:optimizer|scheduler)(?:_\d+)?(?:\.(?:pt|bin))?\Z|scaler\.pt\Z|rng_state(?:_\d+)?\.pth\Z|random_states_\d+\.pkl\Z"
)
_ACCELERATE = re.compile(rf"{_TRAINER.pattern}|(?:sampler|dl_state_dict)(?:_\d+)?\.bin\Z|custom_checkpoint_\d+\.pkl\Z")
_CUSTOM = re.compile(r"custom_checkpoint_\d+\.pkl\Z")
_OF_DEEPSPEED = re.compile(r"global_step\d+\Z")
_NOTHING = "it holds no optimizer state: there is nothing to strip"


def strip_file(target: str, output: str, progress: Progress | None = None) -> Stripped:
    """Writes a file of torch.save, or a checkpoint of Lightning, without them.

    Raises:
        Refused: It has none, or nothing else, or they cannot be told from the rest.
        UnreadableArtifact: It is broken.
    """
    if os.path.isdir(target):
        raise Refused("skorch keeps the model in params.pt, a file of its own: release that", target)
    root = load(target).root
    gone = _gone(root, contents(root), target)
    exchange(target, output, dict.fromkeys(gone, GONE), progress=progress)
    if isinstance(root, dict) and _VERSION in root:
        return Stripped(_names(gone), ("load it with MyLightningModule.load_from_checkpoint(path)",))
    return Stripped(_names(gone))


def _names(gone: Iterable[Path]) -> tuple[str, ...]:
    return tuple("/".join(map(written, path)) for path in gone)


def _gone(root: Node, there: Contents, target: str) -> list[Path]:
    """Where what goes is, each the outermost that holds nothing else."""
    labels = [*there.optimizers, *there.schedulers, *there.scalers, *there.rng, *there.empty]
    held = {model.label.partition("/")[0] for model in there.models}
    items = root.items() if isinstance(root, dict) else ()
    paths: set[Path] = {(key,) for key, each in items if _is_random(key, each) and key not in held}
    if isinstance(root, dict) and _VERSION in root:
        labels = [each for each in labels if each.partition("/")[0] not in _OF_MODEL]
        paths |= {(key,) for key in _OF_TRAINING if key in root and key not in held}  # a callback may hold averages
    paths |= {_path(root, label, target) for label in labels}
    paths = _outside_lists(root, paths, target)
    if not paths:
        raise Refused(_NOTHING, target)
    if () in paths or not (there.models or there.others):
        raise Refused("it is an optimizer's state alone: without that nothing would be left", target)
    return sorted(
        (path for path in paths if not any(path[:end] in paths for end in range(len(path)))),
        key=lambda path: [written(key) for key in path],
    )


def _path(root: Node, label: str, target: str) -> Path:
    try:
        return path_to(root, label, target)
    except GraftRefused as error:
        raise Refused(
            f"{label!r} was pickled whole, with the classes of its program: nothing can be taken out of it. Save the "
            "model's state_dict alone",
            target,
        ) from error


def _is_random(key: Key, node: Node) -> bool:
    """Whether states of random numbers, numpy's among them, are below a key."""
    return isinstance(key, str) and isinstance(node, (dict, list, tuple)) and is_random(key)


def _outside_lists(root: Node, paths: set[Path], target: str) -> set[Path]:
    """Lists that hold nothing else go as a whole: places in a list stay what they are."""
    found: set[Path] = set()
    while paths:
        lists: dict[Path, set[object]] = {}
        for path in paths:
            if path and not isinstance(_at(root, path[:-1]), dict):
                lists.setdefault(path[:-1], set()).add(path[-1])
            else:
                found.add(path)
        for path, places in lists.items():
            items = _at(root, path)
            if not isinstance(items, (list, tuple)) or len(places) < len(items):
                named = "/".join(map(written, path))
                raise Refused(
                    f"its list {named!r} holds optimizer state among other things: save the model alone", target
                )
        paths = set(lists)
    return found


def _at(node: Node, path: Path) -> Node:
    for key in path:
        if isinstance(node, dict):
            node = node[key]
            continue
        if isinstance(node, (list, tuple)) and not isinstance(node, TensorRef) and isinstance(key, int):
            node = node[key]
    return node


# -------------------------------------------------------------------------------------------------------- directories


def strip_trainer(target: str, output: str, progress: Progress | None = None) -> Stripped:
    """Writes a `checkpoint-N` of transformers' Trainer without them.

    Raises:
        Refused: It has none, or they are DeepSpeed's.
    """
    folder = next(filter(_OF_DEEPSPEED.match, sorted(os.listdir(target))), None)
    if folder is not None:
        raise Refused(
            f"its optimizer is DeepSpeed's, whose weights in float32 lie in {folder}: put them together with "
            "zero_to_fp32.py, and release that",
            target,
        )
    return _without(target, output, _TRAINER, "load it with from_pretrained(path)", progress)


def strip_accelerate(target: str, output: str, progress: Progress | None = None) -> Stripped:
    """Writes what `Accelerator.save_state` leaves without them.

    Raises:
        Refused: It has none, or an object that a program registered holds weights.
        UnreadableArtifact: Such an object is broken.
    """
    for name in filter(_CUSTOM.match, sorted(os.listdir(target))):
        if contents(load_part(target, name).root).models:
            raise Refused(
                f"{name}, which its program registered, holds weights: say in the program what is released", target
            )
    return _without(
        target, output, _ACCELERATE, "load it with accelerate.load_checkpoint_in_model(model, path)", progress
    )


def _without(target: str, output: str, gone: re.Pattern[str], call: str, progress: Progress | None) -> Stripped:
    names = sorted(os.listdir(target))
    going = tuple(filter(gone.match, names))
    if not going:
        raise Refused(_NOTHING, target)
    os.mkdir(output)
    for name in names:
        source, goal = os.path.join(target, name), os.path.join(output, name)
        if name in going:
            continue
        if os.path.isdir(source):
            os.mkdir(goal)
            copy_tree(source, goal, frozenset(), progress)
        else:
            copy_file(source, goal, progress)
    return Stripped(going, (call,))


def strip_distributed(target: str, output: str, progress: Progress | None = None) -> Stripped:
    """Writes a directory of torch.distributed.checkpoint without them; their bytes are left out of its files too.

    Raises:
        Refused: It has none.
        UnreadableArtifact: Its metadata is broken, or data is missing.
    """
    state = read_distributed(target)
    fronts = [each.name for each in state.optimizers]
    fronts += [each.name for each in state.schedulers]
    fronts += [each.name for each in state.companions if each.kind in {"scaler", "rng"} and each.present]
    paths = {key: entry.path for key, entry in read_directory(target).entries.items()}
    gone = [key for key, path in paths.items() if any(is_within(path, tuple(each.split("/"))) for each in fronts)]
    if not gone:
        raise Refused(_NOTHING, target)
    if len(gone) == len(paths):
        raise Refused("it is an optimizer's state alone: without that nothing would be left", target)
    os.mkdir(output)
    leave_out(target, output, gone, progress)
    call = "load it with torch.distributed.checkpoint.load(state_dict, checkpoint_id=path)"
    return Stripped(tuple(fronts), (f"{call} without {enumerate_some(fronts)}",))
