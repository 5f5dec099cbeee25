"""Commands that write, on artifacts at URLs: what they read is fetched, what they write is built here and uploaded."""

from __future__ import annotations

import errno
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from functools import wraps
from tempfile import TemporaryDirectory
from typing import Any, ParamSpec, TypeVar, cast

from ckptdoctor import storage
from ckptdoctor.errors import CkptDoctorError, Refused, UnreadableArtifact

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")
_PIECE = 8 << 20
_AT_ONCE = 4
_SMALL = 1 << 20
"""What lies beside an artifact and may say something of it (`checkpoint`, `latest`) is no larger than this."""
_MOST_BESIDE = 100
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def at_hand(
    *inputs: str, output: str | None = None
) -> Callable[[Callable[_Given, _Result]], Callable[_Given, _Result]]:
    """Lets a function of local paths take URLs.

    Args:
        *inputs: Names of its parameters that are artifacts to read; what they mean is fetched.
        output: The parameter that is what it writes: built here, and uploaded when it is done.
    """

    def decorate(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
        @wraps(function)
        def run(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
            given = inspect.signature(function).bind(*args, **kwargs)
            urls = {
                name: path
                for name in (*inputs, *([output] if output else []))
                if (path := given.arguments.get(name)) is not None and storage.is_remote(os.fspath(path))
            }
            if not urls:
                return function(*args, **kwargs)
            if output is not None and given.arguments.get(output) is None:
                raise Refused("what is at a URL is not changed in place: name an output")
            with _Workplace() as place, place.told():
                written = urls.pop(output or "", None)
                if written is not None:
                    place.require(os.fspath(written), overwrite=bool(given.arguments.get("overwrite")))
                given.arguments |= {name: place.fetched(os.fspath(path)) for name, path in urls.items()}
                if output is not None and written is not None:
                    given.arguments[output] = place.output()
                result = function(*given.args, **given.kwargs)
                place.deliver()
                return cast(_Result, place.in_urls(result))

        return run

    return decorate


class _Workplace:
    """A temporary directory with a folder for each URL."""

    def __init__(self) -> None:
        try:
            self._directory = TemporaryDirectory(prefix="ckptdoctor-")
        except OSError as error:
            raise Refused(f"no temporary directory can be made: {error.strerror}; TMPDIR names one") from error
        self._local: dict[str, str] = {}
        self._read: set[str] = set()
        self._written: tuple[str, bool] | None = None
        self._built = ""

    def __enter__(self) -> _Workplace:
        return self

    def __exit__(self, *_: object) -> None:
        self._directory.cleanup()

    def _folder(self, url: str) -> str:
        """The folder that stands for a URL, called as its last part is: names decide what files are."""
        path = _inside(os.path.join(self._directory.name, str(len(self._local))), os.path.basename(url) or "root")
        os.makedirs(path)
        self._local[path] = url
        return path

    def fetched(self, url: str) -> str:
        """Copies what a URL means to here; answers the local path that means the same."""
        from ckptdoctor.formats.locate import locate

        url = storage.named(url)
        resolved = locate(url)[0].resolved
        base = url if storage.is_dir(url) else os.path.dirname(url)
        if resolved != base and not resolved.startswith(f"{base}/"):  # a state file names another directory
            url, base = resolved, os.path.dirname(resolved)
        self._read |= {resolved} if storage.is_dir(url) else {url, resolved}
        folder = self._folder(base)
        for each, nbytes in sorted(_files(resolved, alone=base != url).items()):
            place = _inside(folder, each[len(base) + 1 :])
            os.makedirs(os.path.dirname(place), exist_ok=True)
            _copy(each, place, nbytes)
        return folder if url == base else _inside(folder, url[len(base) + 1 :])

    def require(self, url: str, *, overwrite: bool) -> None:
        """Looks whether an output can be put at a URL; raises Refused where something is there, or nothing can be."""
        from ckptdoctor.storage.uploads import require_free

        self._written = storage.named(url), overwrite
        require_free(self._written[0], overwrite=overwrite)

    def output(self) -> str:
        """The local path of what will be uploaded; raises Refused where it is an input."""
        assert self._written is not None  # noqa: S101 - it was required
        url = self._written[0]
        if url in self._read or any(url.startswith(f"{each}/") and storage.is_dir(each) for each in self._read):
            raise Refused("OUT is one of the inputs, or lies inside one, which are never written to: name another", url)
        self._built = self._folder(os.path.dirname(url))
        return os.path.join(self._built, os.path.basename(url))

    def deliver(self) -> None:
        """Uploads what was written."""
        if self._written is not None:
            from ckptdoctor.storage.uploads import upload

            url, overwrite = self._written
            upload(self._built, url, overwrite=overwrite)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Errors name URLs, not where they were copied to."""
        try:
            yield
        except CkptDoctorError as error:
            error.message = self.in_urls(error.message)
            error.path = self.in_urls(error.path)
            error.args = (error.message,)
            raise
        except OSError as error:
            more = "; TMPDIR may name a larger place" if error.errno in _FULL else ""
            why = (error.strerror or str(error)).lower()
            raise Refused(self.in_urls(f"{error.filename or self._directory.name}: {why}{more}")) from error

    def in_urls(self, value: Any) -> Any:
        """A result with URLs for local paths, in whatever data it is."""
        if type(value) is str:  # not a member of an enumeration
            for local, url in self._local.items():
                value = value.replace(local, url)
            return value
        if is_dataclass(value) and not isinstance(value, type):
            return replace(value, **{each.name: self.in_urls(getattr(value, each.name)) for each in fields(value)})
        if isinstance(value, tuple) and hasattr(value, "_replace"):
            return type(value)(*(self.in_urls(each) for each in value))
        if isinstance(value, (tuple, list, frozenset)):
            return type(value)(self.in_urls(each) for each in value)
        if isinstance(value, dict):
            return {key: self.in_urls(each) for key, each in value.items()}
        return value


def _files(resolved: str, *, alone: bool) -> dict[str, int]:
    """The files of an artifact, and, unless it was named itself, what is small beside it; URL → bytes."""
    if storage.is_dir(resolved):
        there = [each for level in storage.walk(resolved) for each in level if each.is_file()]
        return {each.path: each.stat().st_size for each in there}
    if alone and storage.exists(resolved) and not resolved.endswith(".json"):
        return {resolved: storage.size(resolved)}
    stem = resolved.removesuffix(".weights.json")
    try:
        there = [each for each in storage.entries(os.path.dirname(resolved)) if each.is_file()]
    except OSError:  # a web server has no listing: a checkpoint's files are known by its index
        names = (f"{resolved}.index", f"{resolved}.data-00000-of-00001")
        return {each: storage.size(each) for each in ((resolved,) if storage.exists(resolved) else names)}
    own = [
        each for each in there if each.path == resolved or each.path.startswith((f"{stem}.", f"{stem}-", f"{stem}_"))
    ]
    small = [each for each in there if each.stat().st_size <= _SMALL and each not in own][:_MOST_BESIDE]
    return {each.path: each.stat().st_size for each in (*own, *small)}


def _inside(folder: str, path: str) -> str:
    """The local path of what a URL has below another; raises UnreadableArtifact where that leads out."""
    parts = path.split("/")
    if {"", ".", ".."}.intersection(parts):
        raise UnreadableArtifact(f"{path!r} leads out of what was named: it is not fetched", code="X002")
    return os.path.join(folder, *parts)


def _copy(url: str, local: str, nbytes: int) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from ckptdoctor.containers.bytes.window import write_at

    source = storage.open_range(url)
    with open(local, "wb") as target, ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:

        def piece(at: int) -> None:
            write_at(target.fileno(), source.read(at, min(_PIECE, nbytes - at)), at)

        list(pool.map(piece, range(0, nbytes, _PIECE)))
