"""What is whole of a file that cannot be read: each format that can tell is asked in turn."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from ckptdoctor.errors import Refused
from ckptdoctor.repairing.counts import Settings

_WAYS = ("ckptdoctor.formats.torch.mending.salvage", "ckptdoctor.formats.safetensors.salvaging")


def find(path: str, settings: Settings) -> tuple[str, ...]:
    """What is whole, and what is lost; nothing where no format knows it."""
    way = _way(path, settings)
    return () if way is None else tuple(way.find(path, settings))


def mend(path: str, output: str, settings: Settings, progress: Callable[[int], None] | None = None) -> tuple[str, ...]:
    """Writes what is whole.

    Raises:
        Refused: Nothing is.
    """
    way = _way(path, settings)
    if way is None:
        raise Refused("no tensor of it is whole: there is nothing to salvage", path)
    return tuple(way.mend(path, output, settings, progress))


def _way(path: str, settings: Settings) -> Any:
    modules = (import_module(each) for each in _WAYS)
    return next((each for each in modules if each.find(path, settings)), None)
