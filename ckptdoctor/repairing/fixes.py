"""Every fix, as plain data: what it mends, and the functions that find and mend it, by text.

A function that finds takes (artifact, settings) and answers a sentence for each thing; one that mends takes (artifact,
output, settings, progress) and answers what it did. A look is a function of one file of torch.save and its settings.
"""

import difflib
from typing import Literal, NamedTuple

from ckptdoctor.errors import UsageProblem

_PYTORCH = "torch"
_TORCH = "ckptdoctor.formats.torch.mending"


class Fix(NamedTuple):
    """One fix.

    Attributes:
        name: What the command line calls it.
        codes: The rules that find what it mends.
        title: What it does, in a line.
        safe: It is done where nothing is asked for: whoever resumes wants nothing else.
        find, mend: Functions; "" where a look does both. Where there are both, the look is for PyTorch's files.
        look: Function (file, settings) that says what is to be changed in a file of torch.save.
        of: The program whose optimizers it mends (`Dialect.program`); "" for any.
        needs: The option without which there is nothing to do.
        beside: It writes a file beside the artifact that names it, and so is done in place.
        mends: There is something wrong where it applies; else it is only done where it is asked for, and not listed.
        unreadable: It is for what cannot be read.
        changed: Function as `find`, of what can be read and was changed; it reads everything, where it is asked for.
        renames: Variables have other names afterwards.
    """

    name: str
    codes: tuple[str, ...]
    title: str
    safe: bool = False
    find: str = ""
    mend: str = ""
    look: str = ""
    of: str = ""
    needs: Literal["", "iterations", "learning_rate"] = ""
    beside: bool = False
    mends: bool = True
    unreadable: bool = False
    changed: str = ""
    renames: bool = False


FIXES: tuple[Fix, ...] = (
    Fix(
        "salvage",
        ("I001", "I002", "I003", "I004"),
        "of files that were cut off or changed every tensor that is whole, the lost ones named",
        find="ckptdoctor.repairing.salvage:find",
        mend="ckptdoctor.repairing.salvage:mend",
        unreadable=True,
        changed="ckptdoctor.repairing.salvage:find_changed",
    ),
    Fix(
        "text-indices",
        ("S017",),
        "state of PyTorch's optimizers under numbers, not text",
        safe=True,
        look=f"{_TORCH}.optimizers:text_indices",
        of=_PYTORCH,
    ),
    Fix(
        "step-dtype",
        ("V007",),
        "counts of PyTorch's optimizers in float32, to which they add",
        safe=True,
        look=f"{_TORCH}.optimizers:step_dtype",
        of=_PYTORCH,
    ),
    Fix(
        "stored",
        ("I007",),
        "archives of torch.save whose storages were packed, stored again",
        safe=True,
        find=f"{_TORCH}.files:find_packed",
        mend=f"{_TORCH}.files:mend_packed",
        of=_PYTORCH,
    ),
    Fix(
        "trainer-state",
        ("L002",),
        "trainer_state.json for another version of transformers (--loader transformers==VERSION)",
        safe=True,
        find=f"{_TORCH}.trainer:find",
        mend=f"{_TORCH}.trainer:mend",
        of=_PYTORCH,
    ),
    Fix(
        "state-file",
        ("P001", "S022"),
        "TensorFlow's `checkpoint` and DeepSpeed's `latest` name what is here",
        safe=True,
        beside=True,
    ),
    Fix(
        "count",
        ("S002", "S005"),
        "the count that was lost, by --iterations, beta powers, global_step or the file's name",
        find="ckptdoctor.repairing.counts:find",
        mend="ckptdoctor.repairing.counts:mend",
    ),
    Fix(
        "orbax-paths",
        ("L002",),
        "Keras' OrbaxCheckpoint of a Sequential or subclassed model, for load_model",
        find="ckptdoctor.formats.orbax.writing.renaming:find",
        mend="ckptdoctor.formats.orbax.writing.renaming:mend",
        of="keras",
        renames=True,
    ),
    Fix(
        "foreign-imports",
        ("X005",),
        "random numbers and hyperparameters as plain data, which weights_only=True takes",
        look=f"{_TORCH}.plain:foreign",
        of=_PYTORCH,
    ),
    Fix(
        "location",
        (),
        "storages of a GPU on the CPU, for programs without map_location",
        look=f"{_TORCH}.optimizers:location",
        of=_PYTORCH,
    ),
    Fix(
        "capturable",
        (),
        "capturable=False in PyTorch's groups, for programs on a CPU",
        look=f"{_TORCH}.optimizers:capturable",
        of=_PYTORCH,
    ),
    Fix(
        "learning-rate",
        ("S023",),
        "the stored rate, which overrides the program's (--learning-rate RATE)",
        look=f"{_TORCH}.optimizers:learning_rate",
        find="ckptdoctor.repairing.rates:find",
        mend="ckptdoctor.repairing.rates:mend",
        needs="learning_rate",
        mends=False,
    ),
    Fix(
        "averages",
        ("S012",),
        "weights and their averages in each other's place: Keras' and TensorFlow's, or ema in a file of torch.save",
        look=f"{_TORCH}.optimizers:averages",
        find="ckptdoctor.repairing.averages:find",
        mend="ckptdoctor.repairing.averages:mend",
        mends=False,
        renames=True,
    ),
    Fix(
        "reset",
        ("V001", "V002"),
        "optimizers that begin at step 0, with state as new ones have it and the stored settings",
        look=f"{_TORCH}.optimizers:reset",
        find="ckptdoctor.repairing.resets:find",
        mend="ckptdoctor.repairing.resets:mend",
        mends=False,
    ),
)
"""In the order in which they are done."""
_BY_NAME = {each.name: each for each in FIXES}


def fix(name: str) -> Fix:
    """A fix by its name.

    Raises:
        UsageProblem: There is none of that name.
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    near = difflib.get_close_matches(name, _BY_NAME, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(_BY_NAME)}"
    raise UsageProblem(f"there is no fix {name!r}: {hint}")
