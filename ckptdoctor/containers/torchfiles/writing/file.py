"""A file of torch.save with other values in it, whatever its container."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.pickles.reading import Key, Node
from ckptdoctor.containers.torchfiles.writing import archive, stream
from ckptdoctor.containers.torchfiles.writing.opcodes import key_of
from ckptdoctor.containers.torchfiles.writing.splicing import Gone, Path, Script
from ckptdoctor.containers.torchfiles.writing.storages import Sizes
from ckptdoctor.containers.zips.signature import SIGNATURE
from ckptdoctor.errors import GraftRefused

Values: TypeAlias = "Mapping[Path, Node | Gone]"
_TAR_AT = 257


def exchange(
    source: str,
    output: str,
    values: Values,
    *,
    wrapped: str | None = None,
    renamed: Mapping[Path, Key] = {},
    device: str | None = None,
    progress: Progress | None = None,
) -> Sizes:
    """Writes a file with other values in it; everything else stays byte for byte, and storages that nobody uses go.

    Args:
        source: The file.
        output: The file that is written.
        values: Where they go → what is there from now on, or that nothing is.
        wrapped: The whole that was there goes under this key of a new dictionary; `values` are other keys of it.
        renamed: Where an entry of a dictionary is → its new key.
        device: Where all storages are from now on, as torch calls it.
        progress: Told how many more bytes are written.

    Raises:
        GraftRefused: A value cannot be written, or not into this container.
        UnreadableArtifact: The source is broken.
    """

    def splice(script: Script, write: Callable[[Node], bytes]) -> bytes:
        content = {path: each if isinstance(each, Gone) else write(each) for path, each in values.items()}
        if wrapped is None:
            spans = [(key.start, key.end, key_of(renamed[path])) for path, key in script.keys(renamed)]
            devices = script.devices() if device is not None else ()
            spans += [(each.start, each.end, key_of(device)) for each in devices if each.constant != device]
            return script.exchanged(content, spans=spans)
        beside = b"".join(key_of(path[0]) + each + b"s" for path, each in content.items() if not isinstance(each, Gone))
        return script.exchanged({}, (b"}" + key_of(wrapped), b"s" + beside))

    with RegularFile(source) as file:
        head = file.read(0, min(file.size, _TAR_AT + 8))
    if head.startswith(SIGNATURE):
        return archive.exchange(source, output, splice, progress)
    if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
        raise GraftRefused("the target is a tar archive of torch 0.1: load it with torch, and save it again", source)
    return stream.exchange(source, output, splice, progress)
