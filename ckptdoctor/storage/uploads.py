"""Finished artifacts into a bucket: data first, what names it last, and nothing that is there is replaced unasked."""

from __future__ import annotations

import os
from typing import Any

from ckptdoctor.errors import CkptDoctorError, Refused, UnreadableArtifact
from ckptdoctor.storage.addresses import BUCKETS, parse
from ckptdoctor.storage.contract import Object
from ckptdoctor.storage.network import network
from ckptdoctor.storage.objects import Bucket, told

_LAST = ("checkpoint", "latest", ".metadata", "saved_model.pb", "_CHECKPOINT_METADATA", "_METADATA", "config.json")
"""What says of a directory that it is complete, or which of several is meant."""
_BEFORE_LAST = (".index", ".index.json", ".weights.json", "trainer_state.json")


def require_free(url: str, *, overwrite: bool) -> None:
    """Looks whether an artifact can be put at a URL.

    Raises:
        Refused: Something is there, or nothing can be written there.
    """
    _bucket(url)
    taken = _taken(url)
    if taken and not overwrite:
        raise Refused(f"{taken[0].key.rpartition('/')[2]} exists already: name another URL, or add --overwrite", url)


def upload(local: str, url: str, *, overwrite: bool) -> None:
    """Puts an artifact, a file, a directory or the files of a prefix, at a URL, and reads back what is there.

    An object appears whole or not at all; what names the others comes last. A server that ignores `If-None-Match`
    would replace silently, therefore it is asked before, too. What a failed upload has put there is taken away.

    Raises:
        Refused: Something is there, or came there meanwhile, or the upload failed; the sentence says what is left.
    """
    bucket = _bucket(url)
    key = parse(url).key
    require_free(url, overwrite=overwrite)
    before = {each.key: each for each in _taken(url)}
    done: list[str] = []
    files = _files(local, key)
    try:
        for file, name in files:
            _put(bucket, file, name, before.get(name))
            done.append(name)
        for file, name in files:
            _compare(bucket, file, name)
    except BaseException as error:
        left = _take_back(bucket, [name for name in done if name not in before])
        replaced = [name for name in done if name in before]
        if not isinstance(error, CkptDoctorError):
            raise
        raise Refused(f"{error}{_what_is_left(left, replaced)}", url) from error
    for name in before.keys() - {name for _, name in files}:  # of what was overwritten
        bucket.delete(name)
    network().forget(url)


def _bucket(url: str) -> Bucket:
    address = parse(url)
    store = network().store(address) if address.scheme in BUCKETS else None
    if not isinstance(store, Bucket) or not address.key:
        raise Refused(
            "only buckets (s3://, gs://, az://) are written to: write it here, and upload it by the tool of the place",
            url,
        )
    return store


def _taken(url: str) -> list[Object]:
    """What an upload would replace: the object, what lies below it, and the files of a prefix."""
    there = network()
    there.forget(url)
    folder, name = os.path.split(url)
    beside = [each.path for each in there.entries(folder, name)] if name else []
    own = (url, f"{url}.index")
    meant = [each for each in beside if each in own or each.startswith(f"{url}.data-")]
    return [found for each in meant for found in there.below(each)]


def _files(local: str, key: str) -> list[tuple[str, str]]:
    """Local files and the keys they get, those last that say of the others that they are there."""
    if os.path.isdir(local):
        found = [
            (
                os.path.join(folder, name),
                f"{key}/{os.path.relpath(os.path.join(folder, name), local).replace(os.sep, '/')}",
            )
            for folder, _, names in os.walk(local)
            for name in names
        ]
    else:
        folder, name = os.path.split(local)
        above = key.rpartition("/")[0]
        found = [
            (os.path.join(folder, each), f"{above}/{each}".lstrip("/"))
            for each in os.listdir(folder)
            if each in {name, f"{name}.index"} or each.startswith(f"{name}.data-")
        ]
    return sorted(found, key=lambda each: (_rank(os.path.basename(each[0])), each[1]))


def _rank(name: str) -> int:
    return 2 if name in _LAST else 1 if name.endswith(_BEFORE_LAST) else 0


def _put(bucket: Bucket, file: str, key: str, before: Object | None) -> None:
    with told(f"{bucket.root}/{key}"):
        try:
            bucket.put(file, key, before)
        except Exception as error:
            if type(error).__name__ in {"AlreadyExistsError", "PreconditionError"}:
                raise UnreadableArtifact("somebody else has written there meanwhile", f"{bucket.root}/{key}") from None
            raise


def _compare(bucket: Bucket, file: str, key: str) -> None:
    """Whether what is there is what was sent: its size, and its first and last bytes."""
    size = os.path.getsize(file)
    with open(file, "rb") as local:
        for offset in sorted({0, max(0, size - _SAMPLE)}):
            local.seek(offset)
            mine = local.read(_SAMPLE)
            theirs, now = bucket.read(key, offset, len(mine)) if mine else (b"", bucket.head(key))
            if now.size != size or theirs != mine:
                raise UnreadableArtifact("what is there now is not what was sent", f"{bucket.root}/{key}")


_SAMPLE = 1 << 16


def _take_back(bucket: Bucket, names: list[str]) -> list[str]:
    """Deletes what was put there; answers what could not be."""
    return [name for name in names if not _is_deleted(bucket, name)]


def _is_deleted(bucket: Bucket, name: str) -> bool:
    try:
        bucket.delete(name)
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
    """Puts a small file at a URL, in place of what is there.

    Raises:
        Refused: Nothing can be written there.
        UnreadableArtifact: It could not be written.
    """
    _bucket(url).put_bytes(data, parse(url).key)
    network().forget(url)


def delete(url: str) -> None:
    """Deletes what is at a URL."""
    _bucket(url).delete(parse(url).key)
    network().forget(url)
