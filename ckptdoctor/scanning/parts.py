"""The files that a scan writes: one a batch, whole or not there, and none twice."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import reason
from ckptdoctor.errors import Refused, UnreadableArtifact, UsageProblem
from ckptdoctor.scanning.listing import Shard
from ckptdoctor.scanning.rows import Row
from ckptdoctor.words import counted

_PARQUET, _LINES = ".parquet", ".jsonl"
_AGAIN = "-again"
_LISTS = ("findings", "optimizers", "counts")


def has_parquet() -> bool:
    """Whether pyarrow is installed."""
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None


class Parts:
    """A directory of parts, here or in a bucket.

    Attributes:
        directory: Its path.
        ending: `.parquet`; `.jsonl` where there is no pyarrow.
    """

    def __init__(self, directory: str, shard: Shard, *, resume: bool) -> None:
        """Opens a directory, which is made if it is not there.

        Args:
            directory: Its path.
            shard: Whose parts are written.
            resume: Parts that are there already are kept, and their batches not judged again.

        Raises:
            UsageProblem: It holds parts of this shard, and `resume` does not say what is meant by them.
            Refused: It cannot be made.
        """
        self.directory = storage.named(directory).rstrip("/") or directory
        self.ending = _PARQUET if has_parquet() else _LINES
        self._prefix = f"part-{shard.number:05d}-of-{shard.of:05d}-"
        if storage.is_remote(self.directory):
            from ckptdoctor.storage.uploads import require_bucket

            require_bucket(self.directory)
        else:
            try:
                os.makedirs(self.directory, exist_ok=True)
            except OSError as error:
                raise Refused(f"the directory cannot be made: {reason(error)}", directory) from error
        self._there = {name for name in self._names() if name.startswith(self._prefix)}
        if self._there and not resume:
            raise UsageProblem(
                f"holds {counted(len(self._there), 'part')} of a scan already: add --resume to go on with it, or name "
                "another directory",
                self.directory,
            )

    def _names(self) -> list[str]:
        try:
            return [name for name in storage.names(self.directory) if name.endswith((_PARQUET, _LINES))]
        except FileNotFoundError:
            return []

    def _name(self, batch: str, *, is_final: bool = True) -> str:
        return f"{self._prefix}{batch}{'' if is_final else _AGAIN}{self.ending}"

    def _names_of(self, batch: str) -> set[str]:
        return {self._name(batch), self._name(batch, is_final=False)}

    def has(self, batch: str) -> bool:
        """Whether a batch's part is there."""
        return self._name(batch) in self._there

    def write(self, batch: str, rows: Sequence[Row]) -> None:
        """Writes the part of a batch; nothing is seen of it before it is whole.

        One of which something could not be had is called otherwise: it does not count as done.

        Raises:
            Refused: It cannot be written.
        """
        data = _parquet(rows) if self.ending == _PARQUET else _lines(rows)
        name = self._name(batch, is_final=not any(each.unreachable for each in rows))
        place = os.path.join(self.directory, name)
        if storage.is_remote(place):
            from ckptdoctor.storage.uploads import put_bytes

            put_bytes(data, place)
        else:
            _write(data, place)
        self._there.add(name)
        for each in self._names_of(batch) - {name}:
            self._delete(each)

    def keep_only(self, batches: set[str]) -> None:
        """Deletes parts of this shard whose batches are none any more: something in them was written anew."""
        for name in self._there - {name for each in batches for name in self._names_of(each)}:
            self._delete(name)

    def _delete(self, name: str) -> None:
        if name not in self._there:
            return
        self._there.remove(name)
        place = os.path.join(self.directory, name)
        if storage.is_remote(place):
            from ckptdoctor.storage.uploads import delete

            delete(place)
        else:
            with suppress(FileNotFoundError):  # another scan was faster
                os.unlink(place)

    def rows(self) -> Iterator[Row]:
        """Every row of this shard."""
        storage.anew(self.directory)
        for name in sorted(self._there):
            place = os.path.join(self.directory, name)
            try:
                with storage.open_stream(place) as stream:
                    data = stream.read()
                yield from _from_parquet(data) if name.endswith(_PARQUET) else _from_lines(data)
            except (OSError, ValueError) as error:
                raise UnreadableArtifact(f"this part of the scan cannot be read: {error}", place) from error


def _write(data: bytes, place: str) -> None:
    beside = f"{os.path.dirname(place)}/.{secrets.token_hex(6)}.tmp"
    try:
        with open(beside, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, place)
    except OSError as error:
        raise Refused(f"cannot be written: {reason(error)}", place) from error
    finally:
        if os.path.exists(beside):
            os.unlink(beside)


def _plain(row: Row) -> dict[str, Any]:
    """A row as a file has it: texts that are no UTF-8 (names of files) with replacements."""
    return {name: _text(value) for name, value in row._asdict().items()}


def _text(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return [_text(each) for each in value] if isinstance(value, tuple) else value


def _lines(rows: Iterable[Row]) -> bytes:
    return b"".join(json.dumps(_plain(row), allow_nan=False).encode() + b"\n" for row in rows)


def _from_lines(data: bytes) -> Iterator[Row]:
    for line in data.splitlines():
        yield _row(json.loads(line))


def _row(found: dict[str, Any]) -> Row:
    return Row(**{**found, **{name: tuple(found[name]) for name in _LISTS}})


def _parquet(rows: Iterable[Row]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.Table.from_pylist([_plain(row) for row in rows], schema=_schema(pa))
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _from_parquet(data: bytes) -> Iterator[Row]:
    import pyarrow as pa
    from pyarrow import parquet

    for found in parquet.read_table(pa.BufferReader(data)).to_pylist():
        yield _row(found)


def _schema(pa: Any) -> Any:
    """The columns of a part; they are those of `Row`, in its order."""
    text, whole, number = pa.string(), pa.int64(), pa.float64()
    kinds = {
        "passed": pa.bool_(), "unreachable": pa.bool_(), "findings": pa.list_(text), "optimizers": pa.list_(text),
        "iterations": whole, "counts": pa.list_(whole), "slots": whole, "missing": whole, "bytes": whole,
        "optimizer_bytes": whole, "modified": number, "read_requests": whole, "read_bytes": whole, "seconds": number,
    }  # fmt: skip
    return pa.schema([(name, kinds.get(name, text)) for name in Row._fields])
