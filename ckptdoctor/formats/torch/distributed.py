"""Directories of torch.distributed.checkpoint as training state: the nested dictionaries that their keys tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ckptdoctor.containers.pickles.reading import Key, Node
from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.containers.torchfiles.distributed import Directory, Stored, read_directory
from ckptdoctor.containers.torchfiles.inner import inner_file
from ckptdoctor.formats.torch.assembly import assemble
from ckptdoctor.formats.torch.contents import Contents, add
from ckptdoctor.formats.torch.paths import told
from ckptdoctor.formats.torch.safety import dangers
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Format, Oddity, Producer, TrainingState
from ckptdoctor.words import counted, enumerate_some

MAX_OBJECTS = 2_000
"""Objects that are read; each is an archive of its own, and a flattened optimizer has a dozen a parameter."""
_SHOWN = 5
_STATE, _GROUPS = "state", "param_groups"


def read(path: str) -> TrainingState:
    """Reads a directory.

    Raises:
        UnreadableArtifact: Its metadata is corrupt, or an object in it.
    """
    directory = read_directory(path)
    oddities = list(_lost(directory))
    oddities += dangers(directory.names, directory.called, ".metadata: ")
    oddities += told([("checkpoint_id", directory.saved_as)])
    root = _tree(directory, oddities)
    found = Contents()
    add(root, "", found)
    with kept_open():
        return assemble(path, Format.TORCH_DCP, Producer("torch"), found, oddities)


def tree(path: str) -> Node:
    """Everything in a directory, as the nested dictionaries that were saved.

    Raises:
        UnreadableArtifact: Its metadata is corrupt, or an object in it.
    """
    return _tree(read_directory(path), [])


def _tree(directory: Directory, oddities: list[Oddity]) -> Node:
    root: dict[Key, Any] = {}
    parameters = _parameters(directory.entries)
    read_so_far = 0
    for key, entry in directory.entries.items():
        where = _path(entry, parameters)
        value: Node = entry.tensor
        if entry.tensor is None:
            if entry.archive is None or read_so_far >= MAX_OBJECTS:
                continue
            read_so_far += 1
            loaded = inner_file(entry.archive)
            oddities += dangers(loaded.names, loaded.called, f"{key}: ")
            value = _renamed(loaded.root, key)
        _put(root, where, value)
    return _lists(root)


def _lost(directory: Directory) -> Iterator[Oddity]:
    """What each file should hold and does not."""
    files: dict[str, list[str]] = {}
    for key, name in directory.lost.items():
        files.setdefault(name or "no file", []).append(key)
    for name, keys in list(files.items())[:_SHOWN]:
        yield Oddity(
            "I002", f"{name} lacks the data of {counted(len(keys), 'entry', 'entries')}: {enumerate_some(keys, _SHOWN)}"
        )
    if len(files) > _SHOWN:
        yield Oddity("I002", f"{len(files) - _SHOWN:,} more files lack data")


def _parameters(entries: dict[str, Stored]) -> list[str]:
    """Names of the model's tensors, the longest first: in flattened keys they stand with dots among dots."""
    names = {
        str(entry.path[-1]) for entry in entries.values() if entry.tensor is not None and _STATE not in _words(entry)
    }
    return sorted(names, key=len, reverse=True)


def _words(entry: Stored) -> set[str]:
    return {str(part).partition(".")[0] for part in entry.path}


def _path(entry: Stored, parameters: list[str]) -> tuple[Key, ...]:
    """The keys that lead to an entry; of a flattened optimizer, with the parameter's name as one of them."""
    *front, last = entry.path
    if isinstance(last, str):
        kind, dot, rest = last.partition(".")
        if dot and kind in {_STATE, _GROUPS}:
            name = next((each for each in parameters if rest.startswith(f"{each}.")), rest.rpartition(".")[0])
            return (*_optimizer(front), kind, name, rest[len(name) + 1 :])
    numbered = _STATE in front  # dcp makes text of dictionary keys
    return tuple(int(each) if numbered and isinstance(each, str) and each.isdecimal() else each for each in entry.path)


def _optimizer(front: list[str | int]) -> tuple[Key, ...]:
    return tuple(front) or ("optimizer",)


def _put(root: dict[Key, Any], where: tuple[Key, ...], value: Node) -> None:
    at = root
    for part in where[:-1]:
        below = at.setdefault(part, {})
        if not isinstance(below, dict):
            return
        at = below
    at.setdefault(where[-1], value)


def _lists(root: dict[Key, Any]) -> Node:
    """Groups as the list that they were: by their numbers, or by the settings that parameters share."""
    found: dict[Key, Node] = {}
    for name, value in root.items():
        if name == _GROUPS and isinstance(value, dict):
            numbered = value and all(isinstance(key, int) for key in value)
            found[name] = [value[key] for key in sorted(value)] if numbered else list(_grouped(value))
        else:
            found[name] = _lists(value) if isinstance(value, dict) else value
    if _GROUPS in found and _STATE not in found:  # never stepped
        found[_STATE] = {}
    return found


def _grouped(by_parameter: dict[Key, Any]) -> Iterator[Node]:
    """A flattened optimizer keeps settings by parameter: those with the same ones were a group."""
    groups: dict[str, tuple[dict[Key, Node], list[Node]]] = {}
    for name, settings in by_parameter.items():
        if isinstance(settings, dict) and isinstance(name, str):
            groups.setdefault(repr(settings), (settings, []))[1].append(name)
    for settings, names in groups.values():
        yield {**settings, "params": names}


def _renamed(value: Node, key: str) -> Node:
    """An object's tensors under the directory's key for it."""
    if isinstance(value, TensorRef):
        return value._replace(key=f"{key}/{value.key}" if value.key else key)
    if isinstance(value, dict):
        return {name: _renamed(each, key) for name, each in value.items()}
    if isinstance(value, list):
        return [_renamed(each, key) for each in value]
    return value
