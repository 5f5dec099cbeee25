"""`trainer_state.json` for another version of transformers: fields that it does not know go, those that it needs come.

Sources: transformers/trainer_callback.py (`TrainerState`, a dataclass that is made of the JSON's fields and takes no
others), trainer.py (`_save_checkpoint`, `compare_trainer_and_checkpoint_args`) of 4.28 to 5.24.
"""

import json
import os
import re
from collections.abc import Mapping
from typing import NamedTuple

from ckptdoctor.containers.bytes.copying import Progress, copy_tree
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.strict_json import parse_object
from ckptdoctor.errors import UsageProblem
from ckptdoctor.formats.torch.contents import fields_of
from ckptdoctor.formats.torch.mending.files import Settings
from ckptdoctor.formats.torch.parts import load_part
from ckptdoctor.versions import release

_STATE, _ARGUMENTS = "trainer_state.json", "training_args.bin"
_MAX_JSON = 64 << 20
_BEST = "best_model_checkpoint"
_CALLBACKS, _CONTROL, _BATCH = "stateful_callbacks", "TrainerControl", "train_batch_size"
_LOADER = re.compile(r"transformers==(?P<version>\d+(?:\.\d+){1,3})\Z")
_SINCE: Mapping[str, tuple[int, int]] = {
    "logging_steps": (4, 32), "eval_steps": (4, 32), "save_steps": (4, 32), _BATCH: (4, 36),
    "num_input_tokens_seen": (4, 36), _CALLBACKS: (4, 41), "best_global_step": (4, 50),
}  # fmt: skip
"""Fields that came after 4.28 → the first version that knows them."""
_NEWEST = (99, 0)
_AT_REST = {
    "should_training_stop": False, "should_epoch_stop": False, "should_save": False, "should_evaluate": False,
    "should_log": False,
}  # fmt: skip


class _Mended(NamedTuple):
    """The fields as they should be, and a sentence for each that is another."""

    fields: dict[str, object]
    told: tuple[str, ...]


def find(path: str, settings: Settings) -> tuple[str, ...]:
    """What the version that is meant would stumble over.

    Raises:
        UnreadableArtifact: The file is broken.
        UsageProblem: The version is none.
    """
    return _mended(path, settings).told


def mend(path: str, output: str, settings: Settings, progress: Progress | None = None) -> tuple[str, ...]:
    """Writes the checkpoint with the fields that this version takes.

    Raises:
        UnreadableArtifact: The file is broken.
        UsageProblem: The version is none.
    """
    mended = _mended(path, settings)
    os.mkdir(output)
    copy_tree(path, output, frozenset({_STATE}), progress)
    with open(os.path.join(output, _STATE), "x", encoding="utf-8") as stream:
        json.dump(mended.fields, stream, indent=2, sort_keys=True)
        stream.write("\n")
    return mended.told


def _mended(path: str, settings: Settings) -> _Mended:
    where = os.path.join(path, _STATE)
    if not os.path.isfile(where):
        return _Mended({}, ())
    with RegularFile(where) as file:
        fields = parse_object(file.read(0, min(file.size, _MAX_JSON)), where, _STATE)
    version = _version(settings)
    told: list[str] = []
    for name, since in _SINCE.items():
        if name in fields and version < since:
            del fields[name]
            told.append(f"{_STATE} has no {name}, which transformers knows since {since[0]}.{since[1]}")
    if version >= _SINCE[_CALLBACKS]:
        held = fields.get(_CALLBACKS)
        if not isinstance(held, dict) or _CONTROL not in held:
            fields[_CALLBACKS] = {**(held if isinstance(held, dict) else {}), _CONTROL: _control()}
            told.append(f"{_STATE} has a {_CONTROL} in {_CALLBACKS}, without which the next save is a KeyError")
    if version >= _SINCE[_BATCH] and fields.get(_BATCH) is None:
        size = _batch_size(path)
        if size is not None:
            fields[_BATCH] = size
            told.append(f"{_STATE} has the {_BATCH} {size} of {_ARGUMENTS}, without which resuming is a TypeError")
    best = fields.get(_BEST)
    here = _moved(path, best) if isinstance(best, str) else None
    if here is not None:
        fields[_BEST] = here
        told.append(f"{_STATE} names the {_BEST} {here}, not {best}, which is not here")
    return _Mended(fields, tuple(told))


def _moved(path: str, best: str) -> str | None:
    """The best checkpoint of a run that was moved, beside this one; None if it is where it was, or nowhere."""
    beside = os.path.join(os.path.dirname(os.path.abspath(path)), os.path.basename(best.rstrip("/")))
    gone = os.path.basename(best) not in {"", ".", ".."} and not os.path.exists(best)
    return beside if gone and os.path.isfile(os.path.join(beside, _STATE)) else None


def _control() -> dict[str, object]:
    return {"args": dict(_AT_REST), "attributes": {}}


def _version(settings: Settings) -> tuple[int, ...]:
    loader = settings.get("loader")
    if loader is None:
        return _NEWEST
    named = _LOADER.match(str(loader))
    if named is None:
        raise UsageProblem(f"--loader {loader} should be transformers==VERSION")
    return release(named["version"])


def _batch_size(path: str) -> int | None:
    """What a program of one device trains with; several devices would multiply it."""
    if not os.path.isfile(os.path.join(path, _ARGUMENTS)):
        return None
    told = (fields_of(load_part(path, _ARGUMENTS).root) or {}).get("per_device_train_batch_size")
    return told if type(told) is int and told > 0 else None
