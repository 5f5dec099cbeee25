"""Repositories of the Hugging Face Hub: a listing by its API, files by ranges of their own addresses."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote, urlsplit

from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.storage.contract import Object, Page
from ckptdoctor.storage.objects import told, web_range, web_store

_NEXT = re.compile(r'<([^>]+)>;\s*rel="next"')
_MOST_PAGES = 1000
_MOST_BYTES = 64 << 20
_PATIENCE = 60.0


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
        self._whole: dict[str, tuple[bytes, Object]] = {}

    def page(self, folder: str, after: str) -> Page:
        """All that is in a folder, in one page."""
        if self._known is None:
            self._known = {each.key: each for each in self._listed()}
        keys = sorted(key for key in self._known if key.startswith(folder) and key > after)
        return Page([self._known[key] for key in keys], is_last=True)

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
            entries, url = self._asked(url)
            found += [
                Object(str(each["path"]), int(each.get("size") or 0), str(each.get("oid") or ""))
                for each in entries
                if isinstance(each, dict) and each.get("type") == "file" and "path" in each
            ]
        return found

    def _asked(self, url: str) -> tuple[list[Any], str | None]:
        """One page of the listing, and where the next is: on the same server, or the token would leave it."""
        request = urllib.request.Request(url, headers={**self._headers, "user-agent": "ckptdoctor"})  # noqa: S310 - http(s)
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:  # noqa: S310 - the user's endpoint
                entries = json.loads(answer.read(_MOST_BYTES))
                following = _NEXT.search(answer.headers.get("Link") or "")
        except urllib.error.HTTPError as error:
            raise UnreadableArtifact(_refused(error.code), self._root) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise UnreadableArtifact(f"the Hub at {self._endpoint} cannot be asked: {reason}", self._root) from None
        after = following.group(1) if following else None
        same = after is not None and urlsplit(after)[:2] == urlsplit(self._endpoint)[:2]
        return entries if isinstance(entries, list) else [], after if same else None


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
