"""Buckets and web servers, by obstore (the extra `remote`): it signs, and tries again."""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from ckptdoctor.errors import CkptDoctorError, Unreachable, UsageProblem
from ckptdoctor.storage.contract import UNLISTED, Denied, Object, Page
from ckptdoctor.storage.waiting import interruptible

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

_PAGE = 1000
"""Keys in one answer of S3, the most that it gives."""
_WHOLE = 16 << 20
"""What is read of a server that answers a range with everything."""
_PATIENCE = 60
_CLIENT: dict[str, Any] = {"timeout": "60s", "connect_timeout": "10s", "user_agent": "ckptdoctor"}
_RETRIES: dict[str, Any] = {"max_retries": 5, "retry_timeout": timedelta(seconds=_PATIENCE)}
_ANSWER = re.compile(r"non-2xx status code: (\d{3}) ?([A-Za-z ]*)")
_ASKED = re.compile(r".*Error performing [A-Z]+ (\S+) in ", re.DOTALL)
"""What stands before the reason, and names keys and addresses, which are not to be taken for it, nor told."""
_OF_CREDENTIALS = re.compile(r"https?://(169\.254\.\d+\.\d+|metadata(\.google\.internal)?)[:/]")
_ONE_REQUEST = 64 << 20
"""Larger files are uploaded in parts."""
_PART = 8 << 20
_MOST_PARTS = 9_000
_MOST_WHOLE = 4
_MOST_CLIENTS = 64
_MOST_BEGUN = 4
_DENIED = "access is denied: it needs credentials that may read it, in the environment"


def obstore() -> Any:
    """The library, which is an extra.

    Raises:
        UsageProblem: It is not installed.
    """
    try:
        import obstore as library
    except ImportError:
        raise UsageProblem("URLs need the extra `remote`: pip install 'ckptdoctor[remote]'") from None
    return library


@contextmanager
def told(url: str) -> Iterator[None]:
    """Turns what obstore raises into one sentence, without the addresses that it names: signatures are in them.

    Raises:
        FileNotFoundError: Nothing is at the URL.
        Unreachable: It cannot be had.
    """
    try:
        yield
    except (FileNotFoundError, CkptDoctorError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - its errors are of several kinds, and names that are none others
        kind = type(error).__name__
        if kind in {"PermissionDeniedError", "UnauthenticatedError", "PermissionError"}:
            raise Denied(_DENIED, url) from None
        raise Unreachable(_sentence(kind, str(error)), url) from None


def _sentence(kind: str, told_by: str) -> str:
    asked = _ASKED.match(told_by)
    if asked is not None:
        if _OF_CREDENTIALS.match(asked.group(1)):
            return (
                "no credentials were found: set its cloud's variables (of what is public on S3: "
                "AWS_SKIP_SIGNATURE=true)"
            )
        told_by = told_by[asked.end() :]
    answer = _ANSWER.search(told_by)
    if answer is not None:
        return f"the server answered {answer.group(1)} {answer.group(2).strip()}".rstrip()
    if "timed out" in told_by or "timeout" in told_by.lower().partition("retry_timeout")[0]:
        return "the server did not answer in time"
    if "error following redirect" in told_by:
        return "the server leads in a circle"
    if "error sending request" in told_by:
        return "the server cannot be reached"
    if "Range request not supported" in told_by:
        return f"the server answers no ranges, and it is larger than the {_WHOLE >> 20} MiB that are read whole"
    first = told_by.splitlines()[0] if told_by else kind
    return f"it cannot be had: {re.sub(r'[a-z]+://[^ ]*', '…', first)[:200]}"


def _object(meta: ObjectMeta, key: str) -> Object:
    when = meta["last_modified"].timestamp()
    return Object(key, meta["size"], meta["e_tag"] or (f"@{when}" if when else ""), when)


def ranged(store: ObjectStore, key: str, offset: int, count: int, known: str) -> tuple[bytes, Object]:
    """Bytes of an object, and what it is, in one request.

    Args:
        store: obstore's store.
        key: The object there.
        offset: First byte.
        count: Bytes, fewer where the object ends.
        known: The key that it is known by.
    """
    library = obstore()
    found = library.get(store, key, options={"range": (offset, offset + count)})
    return bytes(found.bytes()), _object(found.meta, known)


class Bucket:
    """A bucket of S3, Google Cloud Storage or Azure, or of a server that speaks as they do.

    Credentials are those of the environment, as the clouds' own tools read them (`AWS_…`, `GOOGLE_…`, `AZURE_…`); for
    AWS those of boto3 too, where it is installed and the environment has none.
    """

    lists = True

    def __init__(self, root: str) -> None:
        library = obstore()
        from obstore.store import from_url

        self.root = root
        url = f"s3://{root[6:]}" if root.startswith("s3a://") else root
        options: dict[str, Any] = {"client_options": {**_CLIENT, **_plain()}, "retry_config": _RETRIES, **_profile(url)}
        with _configured(root):
            self.store = from_url(url, **options)
        self._library = library
        self._begun: OrderedDict[tuple[str, str], Any] = OrderedDict()

    def forget(self) -> None:
        """Listings are begun anew."""
        self._begun.clear()

    @interruptible
    def page(self, folder: str, after: str) -> Page:
        """A page of the bucket's listing, one request."""
        with told(self.root):
            try:
                # One that was begun goes on: not every cloud can begin in the middle.
                stream = self._begun.pop((folder, after), None) or self._library.list(
                    self.store, prefix=folder or None, offset=after or None, chunk_size=_PAGE
                )
                found = [_object(each, each["path"]) for each in next(stream, [])]
            except self._library.exceptions.InvalidPathError:
                found = list(islice(self._apart(folder, after), _PAGE))
            else:
                self._begun |= {(folder, found[-1].key): stream} if found else {}
                while len(self._begun) > _MOST_BEGUN:
                    self._begun.popitem(last=False)
        return Page(found, is_last=len(found) < _PAGE)

    def _apart(self, folder: str, after: str) -> Iterator[Object]:
        """What a page would have, where keys lie in it that obstore takes for no paths (`a//b`): level by level."""
        try:
            for each in self._library.list(self.store, prefix=folder or None, offset=after or None, chunk_size=_PAGE):
                yield from (_object(meta, meta["path"]) for meta in each)
                after = each[-1]["path"]
        except self._library.exceptions.InvalidPathError:
            yield from self._level(folder, after)

    def _level(self, folder: str, after: str) -> Iterator[Object]:
        try:
            level = self._library.list_with_delimiter(self.store, folder or None)
        except self._library.exceptions.InvalidPathError:
            yield from [Object(f"{folder}{UNLISTED}", 0)] if after < f"{folder}{UNLISTED}" else []
            return
        objects = {each["path"]: _object(each, each["path"]) for each in level["objects"]}
        for key in sorted([*objects, *(f"{each}/" for each in level["common_prefixes"] if each)]):
            if key in objects:
                yield from [objects[key]] if key > after else []
            elif f"{key}\U0010ffff" > after:
                yield from self._apart(key, max(after, key))

    @interruptible
    def read(self, key: str, offset: int, count: int) -> tuple[bytes, Object]:
        """Bytes of an object, one request."""
        with told(f"{self.root}/{key}"):
            return ranged(self.store, key, offset, count, key)

    @interruptible
    def head(self, key: str) -> Object:
        """What an object is."""
        with told(f"{self.root}/{key}"):
            return _object(self._library.head(self.store, key), key)

    def put(self, file: str, key: str, before: Object | None) -> bool:
        """Uploads a file; where another object is than `before`, nothing is seen of it.

        A small one is one request on that condition. A large one goes in parts, which know no conditions: whether it
        holds is asked for before they are put together.

        Returns:
            Whether it is there now.
        """
        size = os.path.getsize(file)
        with told(f"{self.root}/{key}"), open(file, "rb") as stream:
            if size <= _ONE_REQUEST:
                mode: Any = "create" if before is None else {"e_tag": before.tag}
                try:
                    self._library.put(self.store, key, stream, mode=mode, use_multipart=False)
                except (self._library.exceptions.AlreadyExistsError, self._library.exceptions.PreconditionError):
                    return False
                return True
            writer = self._library.open_writer(self.store, key, buffer_size=max(_PART, size // _MOST_PARTS))
            while piece := stream.read(_PART):
                writer.write(piece)
            is_same = self._tag(key) == (None if before is None else before.tag)
            if is_same:
                writer.close()
            return is_same

    def _tag(self, key: str) -> str | None:
        try:
            return self.head(key).tag
        except FileNotFoundError:
            return None

    def put_bytes(self, data: bytes, key: str) -> None:
        """Puts an object, whatever is there."""
        with told(f"{self.root}/{key}"):
            self._library.put(self.store, key, data)

    def delete(self, key: str) -> None:
        """Deletes an object."""
        with told(f"{self.root}/{key}"):
            self._library.delete(self.store, key)


_NUMBER = re.compile(r"\(\d+\)\Z")
"""What a host carries here whose files a query chooses: `https://host(2)`."""
Whole: TypeAlias = OrderedDict[str, tuple[bytes, Object]]
"""Files that were read whole, the last few of them."""


class Web:
    """A web server: files by their address, and no listing."""

    lists = False

    def __init__(self, root: str, query: Callable[[str], str]) -> None:
        """Speaks to a server.

        Args:
            root: Its scheme, host and port.
            query: Key → the query that the user gave with it, a signature most often.
        """
        obstore()
        self.root = root
        self._query = query
        address = _NUMBER.sub("", root)
        self._store = lru_cache(_MOST_CLIENTS)(lambda asked: web_store(f"{address}?{asked}" if asked else address))
        self._whole: Whole = OrderedDict()

    def forget(self) -> None:
        """What was read whole may be another file now."""
        self._whole.clear()

    def page(self, folder: str, after: str) -> Page:  # noqa: ARG002 - as its kind is asked
        """Nothing: `lists` says so."""
        return Page([], is_last=True)

    @interruptible
    def read(self, key: str, offset: int, count: int) -> tuple[bytes, Object]:
        """Bytes of a file, one request."""
        store = self._store(self._query(key))
        with told(f"{self.root}/{key}"):
            return web_range(store, key, offset, count, self._whole)


def web_store(url: str, headers: dict[str, str] | None = None) -> ObjectStore:
    """A client of a web server.

    Raises:
        UsageProblem: It is no address of one.
    """
    obstore()
    from obstore.store import HTTPStore

    options: Any = {**_CLIENT, "allow_http": True, **({"default_headers": headers} if headers else {})}
    with _configured(url.partition("?")[0]):
        return HTTPStore.from_url(url, client_options=options, retry_config=_RETRIES)  # type: ignore[arg-type]


def web_range(store: ObjectStore, key: str, offset: int, count: int, whole: Whole) -> tuple[bytes, Object]:
    """The same as `ranged` of a web server, of which some answer a range with everything, or an empty file with 416."""
    if key not in whole:
        try:
            return ranged(store, key, offset, count, key)
        except Exception as error:
            why = _ASKED.sub("", str(error))
            answers_all, is_empty = "Range request not supported" in why, "status code: 416" in why
            if not answers_all and not (is_empty and offset == 0):
                raise
            found = obstore().get(store, key)
            if found.meta["size"] > _WHOLE:
                raise
            whole[key] = bytes(found.bytes()), _object(found.meta, key)
            while len(whole) > _MOST_WHOLE:
                whole.popitem(last=False)
    data, known = whole[key]
    return data[offset : offset + count], known


@contextmanager
def _configured(url: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - its errors are of several kinds, one a cloud
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UsageProblem(f"{url}: no client can be made for it: {first[:200]}") from None


def _plain() -> dict[str, Any]:
    """Whether the user's own endpoint is one without encryption."""
    named = [value for name, value in os.environ.items() if name.startswith(("AWS_ENDPOINT", "GOOGLE_BASE", "AZURE_"))]
    return {"allow_http": True} if any(each.startswith("http://") for each in named) else {}


def _profile(url: str) -> dict[str, Any]:
    """The credentials of a profile, which boto3 reads, where the environment itself has none."""
    has_own = any(
        os.environ.get(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE", "AWS_WEB_IDENTITY_TOKEN_FILE")
    )
    files = (
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
    )
    if not url.startswith("s3://") or has_own or not any(os.path.exists(os.path.expanduser(each)) for each in files):
        return {}
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        return {}
    return {"credential_provider": Boto3CredentialProvider()}
