"""What is whole of an artifact that cannot be read, or was changed: each format that can tell is asked in turn."""

from __future__ import annotations

from collections.abc import Callable

from ckptdoctor.errors import Refused
from ckptdoctor.examination import with_libhdf5
from ckptdoctor.formats.registry import named
from ckptdoctor.repairing.counts import Settings

_SUMMED = "ckptdoctor.formats.tensorflow.writing.salvaging"
"""The way that tells by checksums; it finds nothing where all are right."""
_BY_LIBRARY = "ckptdoctor.formats.keras.writing.salvaging"
_WAYS = (
    "ckptdoctor.formats.torch.mending.salvage",
    "ckptdoctor.formats.safetensors.salvaging",
    _SUMMED,
    _BY_LIBRARY,
)


def find(path: str, settings: Settings) -> tuple[str, ...]:
    """What is whole, and what is lost; nothing where no format knows it."""
    return next(filter(None, (_find(way, path, settings) for way in _WAYS)), ())


def find_changed(path: str, settings: Settings) -> tuple[str, ...]:
    """The same of an artifact that can be read, whose bytes are not those that were written; every byte is read."""
    return _find(_SUMMED, path, settings)


def mend(path: str, output: str, settings: Settings, progress: Callable[[int], None] | None = None) -> tuple[str, ...]:
    """Writes what is whole.

    Raises:
        Refused: Nothing is.
    """
    way = next((each for each in _WAYS if _find(each, path, settings)), None)
    if way is None:
        raise Refused("no tensor of it is whole: there is nothing to salvage", path)
    if way == _BY_LIBRARY:
        return tuple(with_libhdf5(named(f"{way}:mend"), path, output, settings, unread=path))
    return tuple(named(f"{way}:mend")(path, output, settings, progress))


def _find(way: str, path: str, settings: Settings) -> tuple[str, ...]:
    function = named(f"{way}:find")
    if way == _BY_LIBRARY:
        return tuple(with_libhdf5(function, path, settings, unread=path, limited=True))
    return tuple(function(path, settings))
