"""Every other scheme: a file system of fsspec, where the user has it installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ckptdoctor.errors import Unreachable, UsageProblem
from ckptdoctor.storage.contract import Object, Page


class FileSystem:
    """What fsspec finds at a URL.

    Attributes:
        lists: Yes.
    """

    lists = True

    def __init__(self, scheme: str, root: str) -> None:
        try:
            import fsspec
        except ImportError:
            raise UsageProblem(
                f"{scheme}:// is none of the schemes that ckptdoctor reads itself (s3, gs, az, https, hf), and fsspec, "
                "which may read it, is not installed: pip install fsspec"
            ) from None
        try:
            self._fs, self._base = fsspec.core.url_to_fs(root)
        except (ImportError, ValueError) as error:
            raise UsageProblem(f"fsspec has no file system for {scheme}://: {error}") from None
        except Exception as error:  # noqa: BLE001 - every file system has errors of its own
            raise Unreachable(f"it cannot be had: {_first(error)}", root) from None
        self._root = root

    def forget(self) -> None:
        """Some remember their listings."""
        self._fs.invalidate_cache()

    def page(self, folder: str, after: str) -> Page:
        """All that lies below a folder, in one page."""
        with self._told(folder):
            place = self._place(folder.rstrip("/"))
            found: dict[str, Any] = self._fs.find(place, detail=True)
        objects = [self._object(self._key(name), about) for name, about in found.items()]
        return Page(sorted(each for each in objects if each.key > after), is_last=True)

    def read(self, key: str, offset: int, count: int) -> tuple[bytes, Object]:
        """Bytes of a file."""
        with self._told(key):
            place = self._place(key)
            data = self._fs.cat_file(place, start=offset, end=offset + count)
            return bytes(data), self._object(key, self._fs.info(place))

    def _place(self, key: str) -> str:
        base = str(self._base).rstrip("/")
        return f"{base}/{key}" if key else base or "/"

    def _key(self, name: str) -> str:
        return name.removeprefix(str(self._base).rstrip("/")).lstrip("/")

    @staticmethod
    def _object(key: str, about: dict[str, Any]) -> Object:
        when = about.get("mtime") or about.get("last_modified") or about.get("LastModified") or about.get("created")
        seconds = float(getattr(when, "timestamp", lambda: when or 0.0)())
        return Object(key, int(about.get("size") or 0), str(about.get("ETag") or seconds or ""), seconds)

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except Exception as error:  # noqa: BLE001 - every file system has errors of its own
            raise Unreachable(f"it cannot be had: {_first(error)}", f"{self._root}/{key}") from None


def _first(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:200]
