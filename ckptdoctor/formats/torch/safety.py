"""What a file of torch.save names beyond tensors, and what that means for who loads it.

Nothing is imported or run here: names are looked at as they stand in the pickle, whatever it does with them. Names of
the standard library that data needs are few, so that any other is an error; classes of other packages are told.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence

from ckptdoctor.containers.torchfiles.imports import MAX_NAMES, STORAGES, Name
from ckptdoctor.containers.torchfiles.reading import Loaded
from ckptdoctor.state import Oddity
from ckptdoctor.words import enumerate_some

_SHOWN = 5
_PLAIN = (
    r"argparse\.Namespace|pathlib\.\w*Path|datetime\.\w+|collections\.(?:Counter|deque|OrderedDict|defaultdict)|"
    r"types\.SimpleNamespace|functools\.partial|enum\.\w+|decimal\.Decimal|fractions\.Fraction|uuid\.UUID|"
    r"copy_?reg\._reconstructor|copy_?reg\.__newobj__|re\._compile|zoneinfo\.ZoneInfo|"
    r"(?:builtins|__builtin__)\.(?:getattr|object|slice|range|xrange|unicode|long|type|Ellipsis|NotImplemented)"
)
"""Names of the standard library that data needs; getattr is honest in schedulers of torch 1.4."""
_TORCH_FUNCTIONS = (
    r"torch\.(?:_utils|_tensor|storage|serialization|nn\.functional|nn\.backends|_C|nn\.init|ops|quantization\.qconfig)\b.*|"
    r"torch\.(?:per_\w+|strided|sparse\w*|relu|tanh|sigmoid|\w+_format|q?u?int\d+|float\d*\w*|device)"
)
_NUMPY = r"numpy\.(?:random\.(?:_\w+|mtrand)\.\w+|_?core\.\w+\.\w+|ma\.core\.\w+|dtypes?\.?\w*|\w+)"
_USUAL = frozenset({"collections.OrderedDict", "torch._utils._rebuild_tensor_v2"})
"""Those of them that nearly every file names: for these alone the patterns are not compiled."""
_SAFE = frozenset({
    "torch.Size", "torch.Tensor", "torch.device", "torch.nn.parameter.Parameter", "torch.nn.parameter.Buffer",
    "torch.serialization._get_layout", "torch.per_tensor_affine", "torch.per_channel_affine", "collections.Counter",
})  # fmt: skip
"""What weights_only=True takes since 2.6 beside storages and `_rebuild_*` (torch/_weights_only_unpickler.py)."""
_STORED_IN = frozenset({"torch", "torch.storage", "torch.cuda"})
_TAR_REFUSED = "the tar archive of torch 0.1"
_NEWEST_PROTOCOL = 3


def noticed(loaded: Loaded, part: str = "") -> Iterator[Oddity]:
    """What is to be said of a file: what is missing in it, what it names, whether torch.load takes it.

    Args:
        loaded: The file.
        part: Its name in an artifact of several.
    """
    where = f"{part}: " if part else ""
    for each in loaded.oddities:
        yield each._replace(message=f"{where}{each.message}")
    if loaded.lost:
        names = enumerate_some(loaded.lost, _SHOWN)
        yield Oddity("I002", f"{where}the storages of {len(loaded.lost):,} tensors are missing: {names}")
    yield from dangers(loaded.names, loaded.called, where)
    refused = list(_refused(loaded))
    if refused:
        yield Oddity("X005", f"{where}it names {enumerate_some(refused, _SHOWN)}, which torch.load refuses since 2.6")


def dangers(names: Sequence[Name], called: Sequence[Name], where: str = "") -> Iterator[Oddity]:
    """Names that no data needs.

    Args:
        names: What a pickle names.
        called: Those of them that it makes something of.
        where: What stands before a sentence: the part that it is in.
    """
    running = [name for name in names if _runs(name, called=name in called)]
    if running or len(names) >= MAX_NAMES:
        shown = enumerate_some([_shown(name) for name in running] or ["more names than any model has"], _SHOWN)
        yield Oddity("X003", f"{where}the pickle names {shown}, which no tensor needs: whoever loads it may run that")


def _shown(name: Name) -> str:
    full = name.full[:120]
    return full if full.isprintable() else ascii(full)


def _runs(name: Name, *, called: bool) -> bool:
    """Whether a name is one that data never needs: a function of the standard library, of torch or of numpy."""
    if name.full in _USUAL:
        return False
    top = name.module.partition(".")[0]
    parts = name.name.split(".")
    if len(parts) > 1 and any(part in sys.stdlib_module_names for part in parts[:-1]):
        return True  # an attribute of a module: `os.system` of one that imports os
    if top in {"builtins", "__builtin__"} or top in sys.stdlib_module_names or top in _OLD_MODULES:
        return top != "__main__" and re.fullmatch(_PLAIN, name.full) is None
    function = parts[-1].lstrip("_")[:1].islower()  # `_StorageInfo` is a class, `_get_layout` a function
    if top == "torch":
        return function and called and re.fullmatch(_TORCH_FUNCTIONS, name.full) is None
    if top == "numpy":
        known = re.fullmatch(_NUMPY, name.full) is not None
        return not known or (function and called and name.module in {"numpy", "numpy.f2py"})
    return False


_OLD_MODULES = frozenset({"nt", "posix", "commands", "__builtin__", "cPickle", "copy_reg", "popen2", "os.path"})


def is_refused(name: str) -> bool:
    """Whether `weights_only=True` refuses an object of a class."""
    module, _, last = name.rpartition(".")
    rebuilds = last.startswith("_rebuild_") and module.startswith("torch.")
    return not (rebuilds or (module in _STORED_IN and last in STORAGES) or name in _SAFE)


def _refused(loaded: Loaded) -> Iterator[str]:
    """What `weights_only=True` does not take."""
    if loaded.container == "tar":
        yield _TAR_REFUSED
    if loaded.protocol > _NEWEST_PROTOCOL:
        yield f"pickle protocol {loaded.protocol}"
    for name in loaded.names:
        if is_refused(name.full):
            yield _shown(name)
    yield from loaded.arrays
