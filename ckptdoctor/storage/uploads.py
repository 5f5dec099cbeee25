"""Finished artifacts into a bucket: data first, what names it last, and nothing that is there is replaced unasked."""

from __future__ import annotations

import os
from typing import Any

from ckptdoctor import storage
from ckptdoctor.errors import CkptDoctorError, Refused, Unreachable
from ckptdoctor.storage.addresses import BUCKETS, parse
from ckptdoctor.storage.contract import Object
from ckptdoctor.storage.network import network
from ckptdoctor.storage.objects import Bucket

_LAST = ("checkpoint", "latest", ".metadata", "saved_model.pb", "_CHECKPOINT_METADATA", "_METADATA", "config.json")
"""What says of a directory that it is complete, or which of several is meant."""
_BEFORE_LAST = (".index", ".index.json", ".weights.json", "trainer_state.json")


def require_free(url: str, *, overwrite: bool) -> None:
    """Looks whether an artifact can be put at a URL.

    Raises:
        Refused: Something is there, or nothing can be written there.
    """
    require_bucket(url)
    network().forget(url)
    taken = [] if overwrite else [each for each in (url, *_of_checkpoint(url)) if storage.exists(each)]
    if taken:
        raise Refused(f"{os.path.basename(taken[0])} exists already: name another URL, or add --overwrite", url)


def upload(folder: str, url: str, *, overwrite: bool) -> None:
    """Puts an artifact at a URL, and reads back what is there.

    An object appears whole or not at all; what names the others comes last. A server that ignores `If-None-Match`
    would replace silently, therefore it is asked before, too. What a failed upload has put there is taken away. With
    `overwrite` goes what a local output would replace: files of the same names, the files of a checkpoint of this name,
    and below a directory what the new one does not have.

    Args:
        folder: A directory that holds the artifact and nothing else: a file, with its shards; the files of a prefix; or
            a directory.
        url: What it is called there.
        overwrite: Whether something may be there.

    Raises:
        Refused: Something is there, or came there meanwhile, or the upload failed; the sentence says what is left.
    """
    bucket = require_bucket(url)
    above, name = url.rsplit("/", 1)
    files = _files(folder, parse(above).key)
    require_free(url, overwrite=overwrite)
    before = {each.key: each for each in _replaced(os.path.join(folder, name), url, [key for _, key in files])}
    sent: list[tuple[str, str]] = []
    try:
        for file, key in files:
            sent.append((file, key))
            if not bucket.put(file, key, before.get(key)) and not _is_sent(bucket, file, key):
                raise Unreachable("somebody else has written there meanwhile", f"{bucket.root}/{key}")
        for file, key in files:
            if not _is_sent(bucket, file, key):
                raise Unreachable("what is there now is not what was sent", f"{bucket.root}/{key}")
    except BaseException as error:
        left = [key for file, key in sent if key not in before and not _is_gone(bucket, file, key)]
        replaced = [key for _, key in sent if key in before]
        if not isinstance(error, CkptDoctorError):
            raise
        raise Refused(f"{error}{_what_is_left(left, replaced)}", url) from error
    finally:
        network().forget(url)
    for key in before.keys() - {key for _, key in files}:  # of what was overwritten
        bucket.delete(key)


def require_bucket(url: str) -> Bucket:
    """The bucket of a URL; raises Refused where nothing can be written."""
    address = parse(url)
    store = network().store(address) if address.scheme in BUCKETS else None
    if not isinstance(store, Bucket) or not address.key:
        raise Refused(
            "only buckets (s3://, gs://, az://) are written to: write it here, and upload it by the tool of the place",
            url,
        )
    return store


def _of_checkpoint(url: str) -> list[str]:
    return [f"{url}.index", *storage.shards(url, ".data-")]


def _replaced(local: str, url: str, keys: list[str]) -> list[Object]:
    """What an artifact takes the place of; a directory that no directory replaces is left alone."""
    there, root = network(), parse(url).root
    if os.path.isdir(local):
        return there.below(url)
    if os.path.isfile(local) and there.is_folder(url):
        raise Refused("a directory is there, which no file replaces: name another URL", url)
    own = _of_checkpoint(url) if os.path.exists(f"{local}.index") else []
    names = dict.fromkeys([*own, *(f"{root}/{key}" for key in keys)])
    return [found for each in names if (found := there.find(each)) is not None]


def _files(folder: str, above: str) -> list[tuple[str, str]]:
    """Local files and the keys they get, those last that say of the others that they are there."""
    found = [
        (path, "/".join(part for part in (above, *os.path.relpath(path, folder).split(os.sep)) if part))
        for directory, _, names in os.walk(folder)
        for path in (os.path.join(directory, name) for name in names)
    ]
    return sorted(found, key=lambda each: (_rank(os.path.basename(each[0])), each[1]))


def _rank(name: str) -> int:
    return 2 if name in _LAST else 1 if name.endswith(_BEFORE_LAST) else 0


def _is_sent(bucket: Bucket, file: str, key: str) -> bool:
    """Whether what is there is what was sent: its size, and its first and last bytes."""
    size = os.path.getsize(file)
    with open(file, "rb") as local:
        for offset in sorted({0, max(0, size - _SAMPLE)}):
            local.seek(offset)
            mine = local.read(_SAMPLE)
            try:
                theirs, now = bucket.read(key, offset, len(mine)) if mine else (b"", bucket.head(key))
            except FileNotFoundError:
                return False
            if now.size != size or theirs != mine:
                return False
    return True


_SAMPLE = 1 << 16


def _is_gone(bucket: Bucket, file: str, key: str) -> bool:
    """Takes back what was put there, unless it is somebody else's; answers whether nothing of ours is there."""
    try:
        if _is_sent(bucket, file, key):
            bucket.delete(key)
    except CkptDoctorError:
        return False
    return True


def _what_is_left(left: list[str], replaced: list[str]) -> str:
    told_of: list[Any] = []
    if left:
        told_of.append(f"delete {', '.join(left)}, which could not be taken back")
    if replaced:
        told_of.append(f"{', '.join(replaced)} had been replaced by then")
    return f"; {'; '.join(told_of)}" if told_of else "; nothing of it is visible"


def put_bytes(data: bytes, url: str) -> None:
    """Puts a small file at a URL, in place of what is there; what was listed does not have it.

    Raises:
        Refused: Nothing can be written there.
        Unreachable: It could not be written.
    """
    require_bucket(url).put_bytes(data, parse(url).key)


def delete(url: str) -> None:
    """Deletes what is at a URL; what was listed still has it."""
    require_bucket(url).delete(parse(url).key)
