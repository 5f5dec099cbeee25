"""Which reader a file is for, by its bytes."""

from __future__ import annotations

from ckptdoctor.containers.files import RegularFile

_PICKLE_PROTO = 0x80
_NEWEST_PROTOCOL = 5
_NPY = b"\x93NUMPY"
_ZIP = b"PK\x03\x04"


def sniff(path: str, head: bytes) -> str | None:
    """The reader for a file that is neither a table nor HDF5; None if it is none's.

    Args:
        path: The file.
        head: Its first 4 KiB.
    """
    if head.startswith(_NPY):
        return "optimizer-dump"
    if _ZIP in head[:2048]:
        return _zip(path)
    if _is_pickle(head):
        return "optimizer-dump"
    if head.lstrip()[:1] == b"{" and b'"weight_map"' in _text(path, head):
        return "keras-weights"
    return None


def _text(path: str, head: bytes) -> bytes:
    """Enough of a JSON file to see whether it lists shards; Keras writes the metadata first."""
    if b'"weight_map"' in head or b'"metadata"' not in head:
        return head
    with RegularFile(path) as file:
        return file.read(0, min(file.size, 1 << 20))


def _zip(path: str) -> str | None:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist()[:100_000])
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
        return "keras-archive"  # its reader says what is wrong
    if "config.json" in names or {"model.weights.h5", "model.weights.npz"} & names:
        return "keras-archive"
    if names and all(name.endswith(".npy") for name in names):
        return "optimizer-dump"
    return None


def _is_pickle(head: bytes) -> bool:
    """A pickle of protocol 2 and later announces itself; of the older ones, a list or dict that begins like one.

    PyTorch's legacy files are pickles as well: they begin with a magic number, which `foreign` names.
    """
    if len(head) > 1 and head[0] == _PICKLE_PROTO and head[1] <= _NEWEST_PROTOCOL:
        return b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19" not in head[:32]
    return head[:4] in {b"(lp0", b"(lp1", b"(dp0", b"(dp1"} or head.startswith((b"cnumpy", b"(lp", b"(dp", b"]q\x00"))
