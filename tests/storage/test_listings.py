"""What is known of a store's keys is what is there, however its listing is cut into pages."""

from __future__ import annotations

import obstore
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from ckptdoctor.storage import listings
from ckptdoctor.storage.contract import Object, Page
from ckptdoctor.storage.listings import Listings

PARTS = st.text(st.sampled_from("a0-._~é"), min_size=1, max_size=3).filter(lambda part: part not in {".", ".."})
KEYS = st.sets(st.lists(PARTS, min_size=1, max_size=4).map("/".join), max_size=25)


class Pages:
    """A real store of obstore, in memory, with pages of a few keys."""

    lists = True

    def __init__(self, keys: set[str], size: int) -> None:
        self._store = MemoryStore()
        self._size = size
        for key in keys:
            obstore.put(self._store, key, key.encode())

    def forget(self) -> None:
        """Nothing is remembered."""

    def page(self, folder: str, after: str) -> Page:
        """A page of its listing."""
        found = sorted(each["path"] for page in obstore.list(self._store, folder or None) for each in page)
        found = [key for key in found if key > after]
        return Page([Object(key, len(key)) for key in found[: self._size]], len(found) <= self._size)

    def read(self, key: str, offset: int, count: int) -> tuple[bytes, Object]:
        """Not asked for."""
        raise AssertionError(key, offset, count)


@settings(max_examples=300, deadline=None)
@given(keys=KEYS, asked=KEYS, size=st.integers(1, 5))
def test_all_that_is_there(keys: set[str], asked: set[str], size: int) -> None:
    """Objects, folders and what lies in them, asked in any order, of what is there and what is not."""
    keys = {key for key in keys if not any(other.startswith(f"{key}/") for other in keys)}
    known = Listings(Pages(keys, size))
    folders = {"/".join(key.split("/")[:depth]) for key in keys for depth in range(1, key.count("/") + 1)}
    for key in sorted(asked | keys | folders):
        found = known.find(key)
        assert (found is not None) == (key in keys)
        assert known.is_folder(key) == (key in folders)
    for folder in ["", *(f"{each}/" for each in folders)]:
        inside = {key[len(folder) :].split("/")[0] for key in keys if key.startswith(folder)}
        assert set(known.children(folder)) == inside
        assert {name for name, each in known.children(folder).items() if each is None} == {
            name for name in inside if f"{folder}{name}" in folders
        }
        assert {each.key for each in known.below(folder)} == {key for key in keys if key.startswith(folder)}


@settings(max_examples=50, deadline=None)
@given(keys=KEYS, beginning=st.text(st.sampled_from("a0-."), min_size=1, max_size=2))
def test_names_that_begin_so(keys: set[str], beginning: str) -> None:
    """Only those are asked for."""
    known = Listings(Pages(keys, 2))
    assert set(known.children("", beginning)) == {
        name for name in (key.split("/")[0] for key in keys) if name.startswith(beginning)
    }


def test_one_page_answers_of_a_checkpoint() -> None:
    """The prefix, its index and its shards stand together: one request, and what does not lie in it is known too."""
    keys = {f"run/ckpt-{number}{ending}" for number in range(9) for ending in (".index", ".data-00000-of-00001")}
    known = Listings(Pages(keys | {"run/checkpoint"}, 1000))
    assert known.find("run/ckpt-3") is None
    assert known.find("run/ckpt-3.index") is not None
    assert not known.is_folder("run/ckpt-3")
    assert known.find("run/checkpoint") is not None
    assert known.pages == 1


def test_of_millions_some_are_forgotten(monkeypatch: object) -> None:
    """Memory is bounded; what was forgotten is asked for anew, and right."""
    assert hasattr(monkeypatch, "setattr")
    monkeypatch.setattr(listings, "MOST_KEPT", 20)
    keys = {f"{folder:02d}/{number:02d}" for folder in range(10) for number in range(10)}
    known = Listings(Pages(keys, 7))
    assert {each.key for each in known.below("")} == keys
    assert set(known.children("03/")) == {f"{number:02d}" for number in range(10)}
    assert known.find("00/05") is not None
