"""Repositories of the Hugging Face Hub: a listing by its API, files by ranges of their own addresses."""

from __future__ import annotations

import json
import os
import re
import urllib.request
from collections import OrderedDict
from http.client import HTTPException, HTTPMessage
from time import monotonic, sleep
from typing import IO, Any
from urllib.parse import quote, urlsplit

from ckptdoctor.errors import Unreachable
from ckptdoctor.storage.contract import Object, Page
from ckptdoctor.storage.objects import Whole, told, web_range, web_store
from ckptdoctor.storage.waiting import interruptible

_NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')
_MOST_PAGES = 1000
_MOST_BYTES = 64 << 20
_PATIENCE = 60.0
_PAUSES = (1.0, 4.0, 10.0)
"""Seconds between the times that a Hub is asked which is busy, or breaks off."""
_BUSY = frozenset({429, 500, 502, 503, 504})
_PIECE = 1 << 16
_LARGEST = 1 << 62


class Repository:
    """A repository of models, data sets or spaces, at a revision.

    The endpoint is `HF_ENDPOINT`, the token `HF_TOKEN` or the one that `hf auth login` keeps.

    Attributes:
        lists: Yes: one request tells all that it has.
    """

    lists = True

    def __init__(self, root: str) -> None:
        self._root = root
        path, _, revision = root.removeprefix("hf://").partition("@")
        kind, name = path.split("/", 1) if path.count("/") > 1 else ("models", path)
        self._revision = quote(revision or "main", safe="")
        self._endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        self._api = f"{self._endpoint}/api/{kind}/{quote(name)}/tree/{self._revision}"
        token = _token()
        self._headers = {"authorization": f"Bearer {token}"} if token else {}
        place = quote(name if kind == "models" else f"{kind}/{name}")
        self._store = web_store(f"{self._endpoint}/{place}/resolve/{self._revision}", self._headers)
        self._known: dict[str, Object] | None = None
        self._whole: Whole = OrderedDict()

    def forget(self) -> None:
        """The repository may have other files now."""
        self._known = None
        self._whole.clear()

    def page(self, folder: str, after: str) -> Page:
        """All that is in a folder, in one page."""
        if self._known is None:
            self._known = {each.key: each for each in self._listed()}
        keys = sorted(key for key in self._known if key.startswith(folder) and key > after)
        return Page([self._known[key] for key in keys], is_last=True)

    @interruptible
    def read(self, key: str, offset: int, count: int) -> tuple[bytes, Object]:
        """Bytes of a file, one request; the address leads to another server, which is not told the token."""
        with told(f"{self._root}/{key}"):
            data, now = web_range(self._store, key, offset, count, self._whole)
        # Where the bytes come from names them otherwise than the listing does; the size is the same.
        known = (self._known or {}).get(key)
        return data, known._replace(size=now.size) if known is not None else now

    def _listed(self) -> list[Object]:
        found: list[Object] = []
        url: str | None = f"{self._api}?recursive=true"
        for _ in range(_MOST_PAGES):
            if url is None:
                break
            data, url = self._asked(url)
            found += self._entries(data)
        return found

    def _entries(self, data: bytes) -> list[Object]:
        try:
            entries = json.loads(data)
            files = [each for each in entries if each["type"] == "file"]
            found = [Object(each["path"], each["size"], str(each.get("oid") or "")) for each in files]
            if all(isinstance(each.key, str) and 0 <= each.size < _LARGEST for each in found):
                return found
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass
        raise Unreachable(f"the Hub at {self._endpoint} answers what is no listing", self._root)

    def _asked(self, url: str, again: int = 0) -> tuple[bytes, str | None]:
        """One page of the listing, and where the next is: on the same server, or the token would leave it."""
        request = urllib.request.Request(url, headers={**self._headers, "user-agent": "ckptdoctor"})  # noqa: S310 - http(s)
        try:
            with urllib.request.build_opener(_SameServer).open(request, timeout=_PATIENCE) as answer:
                data = _read(answer)
                following = _NEXT.search(answer.headers.get("Link") or "")
        except (OSError, ValueError, HTTPException) as error:
            code = getattr(error, "code", None)  # of the Hub's own refusals
            if again < len(_PAUSES) and (code in _BUSY or isinstance(error, (HTTPException, ConnectionError))):
                sleep(_PAUSES[again])
                return self._asked(url, again + 1)
            reason = getattr(error, "reason", None) or str(error) or type(error).__name__
            sentence = f"the Hub at {self._endpoint} cannot be asked: {reason}" if code is None else _refused(code)
            raise Unreachable(sentence, self._root) from None
        after = following.group(1) if following else None
        return data, after if after is not None and _server(after) == _server(self._endpoint) else None


class _SameServer(urllib.request.HTTPRedirectHandler):
    """Redirects, which carry the token no further than to the server that it is for."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and _server(newurl) != _server(req.full_url):
            following.remove_header("Authorization")
        return following


def _server(url: str) -> tuple[str, ...]:
    return urlsplit(url)[:2]


def _read(answer: Any) -> bytes:
    """All of an answer, unless it comes drop by drop, or without end."""
    parts: list[bytes] = []
    until, left = monotonic() + _PATIENCE, _MOST_BYTES
    while part := answer.read1(_PIECE):
        parts.append(part)
        left -= len(part)
        if monotonic() > until or left < 0:
            raise TimeoutError("its answer does not end")
    return b"".join(parts)


def _refused(code: int) -> str:
    if code in {401, 403, 404}:
        return (
            "there is no such repository or revision, or it is private: check the name, and set HF_TOKEN to a token "
            "that may read it"
        )
    return f"the Hub answered {code}"


def _token() -> str | None:
    """The user's token."""
    token = os.environ.get("HF_TOKEN")
    if token:
        return token
    home = os.environ.get("HF_HOME", os.path.join("~", ".cache", "huggingface"))
    path = os.path.expanduser(os.environ.get("HF_TOKEN_PATH", os.path.join(home, "token")))
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(4096).strip() or None
    except (OSError, UnicodeDecodeError):
        return None
