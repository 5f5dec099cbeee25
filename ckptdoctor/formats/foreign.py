"""Files that are recognised but not read: what they are, so that nobody has to guess from "unknown format".

The bytes decide, never the name: `.ckpt` alone is the ending of six different formats.
"""

import os
import re
from collections.abc import Callable
from typing import NamedTuple

from ckptdoctor import storage
from ckptdoctor.containers.zips.signature import SIGNATURE
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.signatures import by_beginning, by_magic
from ckptdoctor.words import counted

_HEAD = 4096
_MAX_ENTRIES = 10_000


class Foreign(NamedTuple):
    """What a file is.

    Attributes:
        sentence: As a sentence goes on after "is": "a PyTorch checkpoint (…)".
        artifact: It is a file of its own right; False for what only stands where an artifact should be.
    """

    sentence: str
    artifact: bool = True


def recognise(path: str, head: bytes) -> Foreign | None:
    """Recognises a file or directory that is none of ours."""
    if storage.is_dir(path):
        return _directory(path)
    head = head[:_HEAD]
    if not head:
        return Foreign("an empty file: the save or the download did not finish", artifact=False)
    sentence = by_magic(head)
    if sentence is None:
        found = _pointer(head) or _archive(path, head) or foreign_by_place(path) or foreign_pickle(head)
        if found is not None:
            return found
        sentence = by_beginning(head)
    return _text(head) if sentence is None else Foreign(sentence)


# ------------------------------------------------------------------------------------- what is in an artifact's place

_LFS = rb"version https://git-lfs\.github\.com/spec/v1\s"
_LFS_OID = rb"(?m)^oid sha256:([0-9a-f]{64})\s*$"
_LFS_SIZE = rb"(?m)^size (\d{1,15})\s*$"


_DVC = rb"(?m)^outs:\s*\n\s*- (?:\w+: .*\n\s+)*?(?:md5|etag|hash|path): "
"""What a .dvc file lists; a dvc.yaml has its outs below a stage."""


def _pointer(head: bytes) -> Foreign | None:
    if re.match(_LFS, head):
        oid, size = re.search(_LFS_OID, head), re.search(_LFS_SIZE, head)
        what = f" to {int(size[1]):,} bytes" if size else ""
        which = f" (sha256 {oid[1][:12].decode()}…)" if oid else ""
        return Foreign(f"a Git LFS pointer{what}{which}, not the file itself: run `git lfs pull`", artifact=False)
    if re.search(_DVC, head):
        return Foreign("a DVC pointer, not the file itself: run `dvc pull`", artifact=False)
    if re.match(rb"(\.\./)*(\.git)?/?annex/objects/", head):
        return Foreign("a git-annex pointer, not the file itself: run `git annex get`", artifact=False)
    if not head.strip(b"\0"):
        return Foreign(
            "nothing but zero bytes, at least at its start: a download or copy left unfinished", artifact=False
        )
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return Foreign("an HTML page: a download that got a web page instead of the file", artifact=False)
    if start.startswith((b"<?xml", b"<error>")):
        error = b"<Error>" in head or b"<Code>" in head
        return Foreign("an XML error message of a storage service" if error else "an XML document", artifact=not error)
    return None


# ----------------------------------------------------------------------------------------------------------- PyTorch


def foreign_pickle(head: bytes) -> Foreign | None:
    """A pickle that is no more than the beginning of another format."""
    if head[:1] == b"\x80" and b"joblib.numpy_pickle" in head:
        return Foreign("a joblib dump: arrays stand between its pickles; dump it again with pickle or np.savez")
    if b"torch._utils" in head or b"torch.storage" in head:
        return Foreign("a pickle of PyTorch tensors, such as data.pkl of an unpacked torch.save file")
    return None


_RLLIB = frozenset({"rllib_checkpoint.json", "class_and_ctor_args.pkl", "algorithm_state.pkl"})


def foreign_by_place(path: str) -> Foreign | None:
    """A pickle that the files beside it name: RLlib's state of a policy, a learner or an algorithm."""
    directory = os.path.dirname(path) or "."
    if path.endswith(".pkl") and any(storage.exists(os.path.join(directory, name)) for name in _RLLIB):
        return Foreign("a part of a checkpoint of RLlib (Ray)")
    if os.path.basename(path) == "data.pkl" and storage.is_dir(os.path.join(directory, "data")):
        return Foreign("the pickle of an unpacked PyTorch checkpoint (torch.save): its tensors lie in data/ beside it")
    return None


# ----------------------------------------------------------------------------------------------------------- archives


def _archive(path: str, head: bytes) -> Foreign | None:
    """A zip archive by its members; one whose directory cannot be read is named by its first member."""
    if not head.startswith(SIGNATURE):
        return None
    from ckptdoctor.containers.zips.archive import ZipArchive

    try:
        with ZipArchive(path) as archive:
            names = archive.names
    except UnreadableArtifact:
        return Foreign("a zip archive whose directory cannot be read: truncated or corrupt")
    tops, last = ({name.split("/")[place] for name in names} for place in (0, -1))
    if "constants.pkl" in last:
        return Foreign("a TorchScript model: a program without an optimizer")
    if {"archive_format", "serialized_exported_program.json"} & last:
        return Foreign("a program of torch.export (.pt2): it has no optimizer")
    if "saved_model.pb" in tops or any(name.endswith("/saved_model.pb") for name in names):
        return Foreign("a zip archive with a SavedModel in it: unpack it first")
    if any(name.endswith((".index", ".h5", ".keras", ".ckpt")) for name in names):
        return Foreign("a zip archive with checkpoints in it: unpack it first")
    return Foreign(f"a zip archive of {counted(len(names), 'member')}, none of which is a checkpoint's")


def _text(head: bytes) -> Foreign | None:
    """Text, told apart as far as it matters."""
    try:
        # A character may be cut in two where the head ends.
        text = head.decode("utf-8-sig", "strict" if len(head) < _HEAD else "ignore")
    except UnicodeDecodeError:
        return None
    if re.search(r"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]", text):
        return None
    start = text.lstrip()
    if start.startswith(("{", "[")):
        if '"weight_map"' in text:
            return Foreign("the index of a sharded model: it names the files that hold the tensors")
        if '"error"' in text[:200]:
            return Foreign("a JSON error message: a download that failed", artifact=False)
        return Foreign("a JSON document")
    if re.match(r"model_checkpoint_path:\s*\"", start):
        return Foreign("a `checkpoint` state file: it names the checkpoints beside it")
    if re.match(r"(---\s*\n|[\w-]+:\s)", start):
        return Foreign("a text file (YAML?)")
    return Foreign("a text file")


# -------------------------------------------------------------------------------------------------------- directories


def _directory(path: str) -> Foreign | None:
    try:
        names = set(storage.names(path, _MAX_ENTRIES))
    except OSError:
        return None
    if not names:
        return Foreign("an empty directory", artifact=False)
    for there, sentence in _DIRECTORIES:
        if there(names):
            return Foreign(sentence)
    return None


_DIRECTORIES: tuple[tuple[Callable[[set[str]], bool], str], ...] = (
    (
        lambda names: ".metadata" in names and any(name.endswith(".distcp") for name in names),
        "a PyTorch distributed checkpoint",
    ),
    (
        lambda names: any(re.fullmatch(r"mp_rank_\d+_model_states\.pt", name) for name in names),
        "a DeepSpeed checkpoint",
    ),
    (lambda names: bool({".zgroup", ".zarray", "zarr.json"} & names), "a Zarr store"),
    (lambda names: bool(_RLLIB & names), "a checkpoint of RLlib (Ray)"),
    (lambda names: {"data.pkl", "data"} <= names, "an unpacked PyTorch checkpoint (torch.save)"),
    (lambda names: "MLmodel" in names, "an MLflow model: give the model in its `data` directory"),
)
