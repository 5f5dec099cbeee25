"""Absolute paths of the machine that saved an artifact, where programs keep arguments and settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ckptdoctor.containers.pickles.reading import Node, Thing
from ckptdoctor.formats.torch.contents import fields_of
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Oddity
from ckptdoctor.words import enumerate_some

_PLACES = (
    "hyper_parameters", "datamodule_hyper_parameters", "args", "train_args", "opt", "cfg", "config", "hparams",
    "callbacks",
)  # fmt: skip
"""Keys under which trainers and scripts keep what they were started with."""
_ABSOLUTE = r"(?:/[^/\x00-\x1f<>|]{1,255}){2,}/?\Z|[A-Za-z]:[\\/][^\x00-\x1f<>|]{1,255}\Z"
_PATH = r"pathlib\.(?:\w+\.)?(?:Pure)?(?:Posix|Windows)?Path\Z"
_LONGEST, _DEEPEST, _MOST_NODES, _SHOWN = 400, 6, 10_000, 3


def paths_in(root: Node, part: str = "") -> Iterator[Oddity]:
    """What absolute paths stand under the names that hold arguments.

    Args:
        root: What a file holds.
        part: Its name in an artifact of several, of which all is looked at.
    """
    fields = fields_of(root) or {}
    places = [(part, root)] if part else [(name, fields[name]) for name in _PLACES if name in fields]
    yield from told(_texts(places))


def told(found: Iterable[tuple[str, str]]) -> Iterator[Oddity]:
    """One sentence for (where, text) of which some are absolute paths."""
    shown = [f"{where}: {text}" for where, text in found if len(text) <= _LONGEST and re.match(_ABSOLUTE, text)]
    if shown:
        yield Oddity("X006", f"paths of the machine that saved it are inside: {enumerate_some(shown, _SHOWN)}")


def _texts(places: list[tuple[str, Node]]) -> Iterator[tuple[str, str]]:
    """Every text and path below some places, level by level."""
    level = places
    left = _MOST_NODES
    for _ in range(_DEEPEST):
        below: list[tuple[str, Node]] = []
        for where, node in level[:left]:
            text = node if isinstance(node, str) else written_path(node)
            if text is not None:
                yield where, text
            elif isinstance(node, (list, tuple)) and not isinstance(node, TensorRef):
                below += [(where, each) for each in node]
            else:
                inner = fields_of(node) or {}
                below += [(_joined(where, key), each) for key, each in inner.items()]
        left -= len(level)
        level = below
        if left <= 0 or not level:
            return


def _joined(where: str, key: object) -> str:
    """Lightning puts a callback's settings into its key: `ModelCheckpoint{'monitor': None, …}`."""
    return f"{where}/{key.partition('{')[0][:60]}" if isinstance(key, str) else where


def written_path(node: Node) -> str | None:
    """The text of a `pathlib.Path`, which pickles as its parts."""
    if (
        not isinstance(node, Thing)
        or not re.match(_PATH, node.name)
        or not all(isinstance(each, str) for each in node.args)
    ):
        return None
    first, *rest = [str(each) for each in node.args] or [""]
    return "/".join([first.rstrip("/\\"), *rest]) if rest else first
