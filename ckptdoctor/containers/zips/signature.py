"""How zip archives, and the headers before their members, begin."""

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import RegularFile

SIGNATURE = b"PK\x03\x04"


def is_zip(path: str) -> bool:
    """Whether it is a file that begins as a zip archive does."""
    if not storage.is_file(path):
        return False
    with RegularFile(path) as file:
        return file.read(0, min(file.size, len(SIGNATURE))) == SIGNATURE
