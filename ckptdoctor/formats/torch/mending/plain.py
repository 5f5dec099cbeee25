"""Random numbers and hyperparameters as plain data, so that `torch.load(weights_only=True)` takes the file.

numpy's arrays become lists of numbers, which `numpy.random.set_state` takes as well; paths become text, namespaces and
configurations dictionaries. What is left are tensors and plain containers.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptdoctor.containers.pickles.reading import Key, Node, Thing
from ckptdoctor.containers.tensors.values import assembled, read_scalar
from ckptdoctor.containers.torchfiles.reading import Loaded
from ckptdoctor.containers.torchfiles.writing.splicing import Path
from ckptdoctor.errors import Refused
from ckptdoctor.formats.torch.contents import written
from ckptdoctor.formats.torch.mending.files import Changes, Settings
from ckptdoctor.formats.torch.safety import is_refused, noticed
from ckptdoctor.references import Inline, TensorRef

_MOST_LISTED = 100_000
"""Numbers of an array that are written out one by one."""
_MODULE = "_parameters"
_CODE = ("torch.", "builtins.", "__builtin__.", "functools.")
"""What functions and classes are from that a scheduler keeps: to have them as data would break it."""
_CONFIGS = {"omegaconf.": ("_content", "_val")}
"""Packages whose objects keep their data in an attribute."""


def foreign(loaded: Loaded, _settings: Settings) -> Changes:
    """Everything that weights_only=True refuses, as data.

    Raises:
        Refused: It is a module or an optimizer that was pickled whole, which is more than data.
    """
    changes = Changes()
    if not any(each.code == "X005" for each in noticed(loaded)) and not loaded.arrays:
        return changes
    for path, node in _foreign(loaded.root, ()):
        changes.values[path] = _plain(node, path)
        where = "/".join(map(written, path)) or "the whole"
        changes.told.append(f"{where} is plain data, not {_called(node)}")
    return changes


def _foreign(node: Node, path: Path) -> Iterator[tuple[Path, Node]]:
    """The innermost values of dictionaries that hold something foreign: all around them stays as it is."""
    if isinstance(node, dict):
        for key, each in node.items():
            yield from _foreign(each, (*path, key))
    elif _is_foreign(node):
        yield path, node


def _is_foreign(node: Node) -> bool:
    if isinstance(node, TensorRef):
        return isinstance(node.location, Inline)  # of numpy: torch's tensors lie in storages
    if isinstance(node, Thing):
        return is_refused(node.name) or any(map(_is_foreign, (*node.args, *node.members, *node.fields.values())))
    if isinstance(node, dict):
        return any(map(_is_foreign, node.values()))
    return isinstance(node, (list, tuple)) and any(map(_is_foreign, node))


def _called(node: Node) -> str:
    if isinstance(node, Thing):
        return f"a {node.name}"
    return "numpy's" if isinstance(node, TensorRef) else "one that holds objects of other packages"


def _plain(node: Node, path: Path) -> Node:
    if isinstance(node, TensorRef):
        return _numbers(node) if isinstance(node.location, Inline) else node
    if isinstance(node, Thing):
        return _data(node, path)
    if isinstance(node, dict):
        return {key: _plain(each, path) for key, each in node.items()}
    if isinstance(node, list):
        return [_plain(each, path) for each in node]
    return tuple(_plain(each, path) for each in node) if isinstance(node, tuple) else node


def _numbers(ref: TensorRef) -> Node:
    if not ref.shape:
        value = read_scalar(ref)
        return value if value is None or isinstance(value, (bool, int, str)) else float(value)
    if ref.size > _MOST_LISTED:
        return ref  # as a tensor
    numbers: list[Node] = assembled(ref).reshape(ref.shape).tolist()
    return numbers


def _data(thing: Thing, path: Path) -> Node:
    """An object as the data that it keeps."""
    where = "/".join(map(written, path)) or "the file"
    if _MODULE in thing.fields or "param_groups" in thing.fields:
        raise Refused(f"{where} is a {thing.name} that was pickled whole: its program has to save its state_dict")
    if is_refused(thing.name) and (thing.name.startswith(_CODE) or not (thing.args or thing.fields or thing.members)):
        raise Refused(f"{where} holds {thing.name}, for which no data can stand: its program has to save it otherwise")
    if not is_refused(thing.name):
        return Thing(thing.name, tuple(_plain(each, path) for each in thing.args))
    if thing.name.startswith("pathlib."):
        return _joined([each for each in thing.args if isinstance(each, str)])
    for package, attributes in _CONFIGS.items():
        held = next((thing.fields[each] for each in attributes if each in thing.fields), None)
        if thing.name.startswith(package) and any(each in thing.fields for each in attributes):
            return _plain(held, path)
    if thing.fields:
        fields: dict[Key, Node] = {key: _plain(each, path) for key, each in thing.fields.items()}
        return fields
    rest: list[Node] = [_plain(each, path) for each in (*thing.args, *thing.members)]
    return rest[0] if len(rest) == 1 else rest


def _joined(parts: list[str]) -> str:
    return parts[0].rstrip("/") + "/" + "/".join(parts[1:]) if len(parts) > 1 and parts[0] == "/" else "/".join(parts)
