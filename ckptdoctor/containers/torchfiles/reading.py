"""A file of torch.save, read without running it: its structure, with a reference for each tensor.

Three containers hold the same pickles: a zip archive (torch 1.6 and later), a stream of five pickles with the storages
behind them (before), and the tar archive of torch 0.1. Sources: torch/serialization.py (`_save`, `_legacy_save`,
`legacy_load`); measured with torch 1.0 to 2.15.
"""

from typing import Literal, NamedTuple

from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.pickles.reading import Node
from ckptdoctor.containers.torchfiles.imports import Name
from ckptdoctor.containers.zips.signature import SIGNATURE
from ckptdoctor.state import Oddity

_TAR_AT = 257


class Loaded(NamedTuple):
    """What a file holds.

    Attributes:
        root: Its structure.
        container: How it lies in the file.
        protocol: The pickle protocol.
        names: What its pickles name beyond arrays, tensors and plain containers.
        called: Those of them that an object was made of.
        devices: Where the storages were.
        lost: Keys of tensors whose bytes are not there.
        oddities: What was noticed.
        arrays: What they name to build arrays of numpy.
        members: Records of an archive beside the storages.
        packed: Some storages are packed in the archive.
    """

    root: Node
    container: Literal["zip", "stream", "tar"]
    protocol: int
    names: tuple[Name, ...] = ()
    called: tuple[Name, ...] = ()
    devices: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    oddities: tuple[Oddity, ...] = ()
    arrays: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    packed: bool = False


def load(path: str) -> Loaded:
    """Reads a file of torch.save.

    Raises:
        UnreadableArtifact: It is none, truncated, or claims what is not there.
        LimitExceeded: It is larger than anything that training leaves behind.
    """
    with RegularFile(path) as file:
        head = file.read(0, min(file.size, _TAR_AT + 8))
        if head.startswith(SIGNATURE):
            from ckptdoctor.containers.torchfiles.archive import load_archive

            return load_archive(path)
        if head[_TAR_AT : _TAR_AT + 5] == b"ustar":
            from ckptdoctor.containers.torchfiles.tar import load_tar

            return load_tar(path, file)
        from ckptdoctor.containers.torchfiles.stream import load_stream

        return load_stream(path, file)
