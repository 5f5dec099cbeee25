"""Any artifact of PyTorch as one file of torch.save: dictionaries, numbers, text and tensors, and nothing else.

torch's own converter of distributed checkpoints (torch/distributed/checkpoint/format_utils.py, `dcp_to_torch_save`)
leaves parameters' numbers as text, which `load_state_dict` drops silently; here they are numbers again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.pickles.reading import Key, Node, Thing
from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.containers.torchfiles.reading import load
from ckptdoctor.containers.torchfiles.writing import archive, stream
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.torch.contents import is_optimizer
from ckptdoctor.formats.torch.distributed import tree
from ckptdoctor.formats.torch.writing.state_dict import parts
from ckptdoctor.optimizers.planned import PlannedStateDict
from ckptdoctor.references import Inline, TensorRef
from ckptdoctor.state import Format, OptimizerState, TrainingState

_STATE = "state_dict"


def create(state: TrainingState, source: str, output: str, *, progress: Progress | None = None) -> Written:
    """Writes an artifact as one file.

    Args:
        state: What it holds.
        source: Where it is.
        output: The file that is written.
        progress: Told how many more bytes are written.

    Raises:
        GraftRefused: It is one already, or something in it cannot be written.
        UnreadableArtifact: It is broken.
    """
    whole = Whole(state, source)
    if whole.is_stream and not whole.objects:
        sizes = stream.as_archive(source, output, progress)
        return Written((), sizes.new, sizes.copied)
    if whole.is_archive and not whole.objects:
        raise GraftRefused("it is the archive that torch.save writes already: there is nothing to convert", source)
    root = whole.root()
    sizes = archive.create(output, root, progress)
    return Written(tuple(whole.left()), sizes.new, sizes.copied)


class Whole:
    """An artifact as nested dictionaries.

    Attributes:
        is_stream, is_archive: It is a file of torch.save, in one of the two containers.
        objects: Classes of what was pickled whole in it.
    """

    def __init__(self, state: TrainingState, source: str) -> None:
        self._state = state
        self._dropped: list[str] = []
        self.is_stream = self.is_archive = False
        self.objects: list[str] = []
        self._root: Node = None
        if state.format in {Format.TORCH_CHECKPOINT, Format.LIGHTNING_CHECKPOINT} and not os.path.isdir(source):
            loaded = load(source)
            self.is_stream, self.is_archive = loaded.container == "stream", loaded.container == "zip"
            self.objects = [name for name in _objects(loaded.root) if name]
            self._root = loaded.root
        elif state.format is Format.TORCH_DCP:
            self._root = tree(source)

    @property
    def is_gathered(self) -> bool:
        """Whether it is put together of several files."""
        return self._root is None

    def root(self) -> Node:
        """All of it; of a directory of files, what they hold of the model and its training."""
        if self._root is None:
            return self._gathered()
        return self._plain(self._root, "")

    def left(self) -> Iterator[str]:
        """A sentence for what the file has no place for."""
        if self._dropped:
            yield f"objects of the program are left behind: {', '.join(self._dropped[:8])}"
        if self._root is None:
            names = [each.name for each in self._state.companions if each.present]
            if names:
                yield f"left behind, as it belongs to the run and not to the model: {', '.join(names[:8])}"

    def _gathered(self) -> Node:
        models: dict[str, dict[Key, Node]] = {}
        for each in self._state.variables:
            label, _, name = each.path.rpartition("/")
            if each.tensor.location is None and each.tensor.size:
                raise GraftRefused(f"the values of {each.path} ({each.tensor.dtype}) cannot be read")
            models.setdefault(label, {})[name] = each.tensor
        found: dict[Key, Node] = {label or "model": dict(each) for label, each in models.items()}
        for number, optimizer in enumerate(self._state.optimizers):
            key = "optimizer" if len(self._state.optimizers) == 1 else f"optimizer_{number}"
            held = _numbered(optimizer)
            if held is not None:
                found[key] = held
        for number, scheduler in enumerate(self._state.schedulers):
            key = "scheduler" if len(self._state.schedulers) == 1 else f"scheduler_{number}"
            found[key] = self._items(scheduler.stored, key)
        counters: dict[Key, Node] = {name: each for name, each in self._state.counters.items() if "/" not in name}
        if len(found) == 1 and len(models) == 1 and not counters:
            return next(iter(found.values()))
        return {**counters, **found}

    def _plain(self, node: Node, label: str) -> Node:
        """A value without objects; optimizers with numbers for their parameters."""
        known = {each.name: each for each in self._state.optimizers}
        fields = node.fields if isinstance(node, Thing) else node
        if isinstance(fields, Mapping) and is_optimizer(fields) and label in known:
            held = _numbered(known[label])
            if held is not None:
                others = {name: each for name, each in fields.items() if name not in held}
                rest = {} if isinstance(node, Thing) else self._items(others, label)
                return {**held, **rest}
        if isinstance(node, TensorRef):
            is_number = isinstance(node.location, Inline) and not node.shape and bool(node.size)
            return read_scalar(node) if is_number else node  # a scalar of numpy
        if isinstance(node, Thing):
            return self._thing(node, label)
        if isinstance(node, dict):
            return self._items(node, label)
        if isinstance(node, (list, tuple)):
            each = [self._plain(inner, _joined(label, str(number))) for number, inner in enumerate(node)]
            return each if isinstance(node, list) else tuple(each)
        return node

    def _items(self, node: Mapping[Key, Node], label: str) -> dict[Key, Node]:
        found: dict[Key, Node] = {}
        for name, each in node.items():
            where = _joined(label, name if isinstance(name, str) else repr(name))
            if isinstance(each, Thing) and not (_is_plain(each) or _is_known(each)):
                self._dropped.append(f"{where} ({each.name})")
                continue
            found[name] = self._plain(each, where)
        return found

    def _thing(self, node: Thing, label: str) -> Node:
        if "_parameters" in node.fields:
            front = f"{label}/" if label else ""
            return {
                each.path.removeprefix(front): each.tensor
                for each in self._state.variables
                if not front or each.path.startswith(front) or "/" not in each.path
            }
        if _is_plain(node):
            return node
        raise GraftRefused(f"it is a {node.name}, which only its own program can write")


def _joined(label: str, name: str) -> str:
    return f"{label}/{name}" if label else name


def _is_plain(node: Node) -> bool:
    """Whether it is data, or an object that is nothing but its arguments."""
    if isinstance(node, Thing):
        return not node.fields and not node.members and bool(node.args) and all(map(_is_plain, node.args))
    if isinstance(node, dict):
        return all(map(_is_plain, node.values()))
    return isinstance(node, TensorRef) or not isinstance(node, (list, tuple)) or all(map(_is_plain, node))


def _is_known(node: Thing) -> bool:
    """Whether it is a module or an optimizer."""
    return "_parameters" in node.fields or is_optimizer(node.fields)


def _objects(node: Node) -> Iterator[str]:
    """Classes of modules and optimizers that were pickled whole."""
    if isinstance(node, Thing):
        if _is_known(node):
            yield node.name
    elif isinstance(node, dict):
        for each in node.values():
            yield from _objects(each)
    elif isinstance(node, (list, tuple)) and not isinstance(node, TensorRef):
        for each in node:
            yield from _objects(each)


def _numbered(optimizer: OptimizerState) -> dict[Key, Node] | None:
    """A state_dict whose parameters are numbers; None where it is none of torch.optim's."""
    if optimizer.stored is None:
        return None
    names = tuple(name for group in optimizer.groups for name in group.variables)
    return {key: each for key, each in parts(PlannedStateDict(optimizer.stored, names)).items()}  # noqa: C416 - any keys
