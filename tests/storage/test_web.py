"""Web servers and the Hub: what they answer, and how they fail."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from support.museum import FIXTURES
from support.remote.servers import Web, hub

import ckptdoctor
from ckptdoctor import storage
from ckptdoctor.errors import NoSuchPath, UnreadableArtifact
from ckptdoctor.storage import objects

KERAS = (FIXTURES / "keras3.keras").read_bytes()
FULL = "resumes at iteration 7 with full Adam state"


def test_files_and_prefixes(web: Web) -> None:
    """A file by its address, a checkpoint by its prefix; a directory cannot be listed."""
    web.files |= {f"/run/{each.name}": each.read_bytes() for each in (FIXTURES / "run-a").iterdir()}
    web.files["/a model.keras"] = KERAS
    assert ckptdoctor.inspect(f"{web.url}/run/ckpt-7")[0].verdict == FULL
    assert ckptdoctor.inspect(f"{web.url}/a%20model.keras")[0].verdict == FULL
    with pytest.raises(NoSuchPath, match="nothing is at this URL"):
        ckptdoctor.inspect(f"{web.url}/run")


def test_servers_that_deny_what_they_do_not_have(web: Web) -> None:
    """As public buckets do: of what is looked for beside a file that is no error, of the file itself it is."""
    web.files["/m.keras"] = KERAS
    web.faults |= {f"/m.keras{ending}": [403] * 9 for ending in (".index", "-00000-of-00001")}
    assert ckptdoctor.inspect(f"{web.url}/m.keras")[0].verdict == FULL


def test_signatures_are_kept_and_not_told(web: Web) -> None:
    """A signed address works, and its signature is in no report and no error."""
    web.files["/m.keras"] = KERAS
    found = ckptdoctor.inspect(f"{web.url}/m.keras?X-Signature=secret")[0]
    assert found.verdict == FULL
    assert "secret" not in repr(found.to_dict())
    assert {each.path for each in web.asked if each.path.startswith("/m.keras?")} == {"/m.keras?X-Signature=secret"}
    with pytest.raises(NoSuchPath) as caught:
        ckptdoctor.inspect(f"{web.url}/none.keras?X-Signature=secret")
    assert "secret" not in f"{caught.value} {caught.value.path}"


@pytest.mark.parametrize("faults", [[503, 503], ["cut"], ["cut", 500], [429]])
def test_tried_again(web: Web, faults: list[int | str]) -> None:
    """A server that is busy for a moment, a connection that breaks."""
    web.files["/m.keras"] = KERAS
    web.faults["/m.keras"] = faults
    assert ckptdoctor.inspect(f"{web.url}/m.keras")[0].verdict == FULL
    assert len(web.asked) > 1


def test_a_save_in_progress(web: Web) -> None:
    """Another version between two reads: told, not mixed."""
    web.files["/m.bin"] = os.urandom(8 << 20)
    name = storage.named(f"{web.url}/m.bin")
    opened = storage.open_range(name)
    assert opened.read(0, 100) == web.files["/m.bin"][:100]
    web.faults["/m.bin"] = ["changed"]
    with pytest.raises(UnreadableArtifact, match="written anew while it was read"):
        opened.read(5 << 20, 100)


@pytest.mark.parametrize(
    ("status", "told"), [(403, "access is denied"), (401, "access is denied"), (400, "answered 400")]
)
def test_refusals(web: Web, status: int, told: str) -> None:
    """What the server says, in a sentence."""
    web.files["/m.keras"] = KERAS
    web.faults["/m.keras"] = [status] * 20
    found = ckptdoctor.inspect(f"{web.url}/m.keras")[0]
    assert re.search(told, str(found.error))


def test_servers_without_ranges(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small file is read whole; of a large one nothing is."""
    web.files["/m.keras"] = KERAS
    web.faults["/m.keras"] = ["whole"]
    assert ckptdoctor.inspect(f"{web.url}/m.keras")[0].verdict == FULL
    monkeypatch.setattr(objects, "_WHOLE", 1000)
    storage.use(None)
    assert "answers no ranges" in str(ckptdoctor.inspect(f"{web.url}/m.keras")[0].error)


def test_an_empty_file(web: Web) -> None:
    """It is empty, and no error of the network."""
    web.files["/m.keras"] = b""
    assert "empty" in str(ckptdoctor.inspect(f"{web.url}/m.keras")[0].error)


def test_blocks_are_the_bytes(web: Web) -> None:
    """Every stretch, whatever was read before, is what the file has; neighbours are read once."""
    web.files["/m.bin"] = data = os.urandom(5 << 20)
    opened = storage.open_range(storage.named(f"{web.url}/m.bin"))
    opened.expect([(0, 10), (100_000, 5000), (101_000, 9), (4_000_000, 70_000), (len(data) - 5, 5), (len(data) + 9, 4)])
    asked = len(web.asked)
    for offset, count in [(0, 10), (100_500, 4000), (4_000_000, 70_000), (len(data) - 5, 5)]:
        assert opened.read(offset, count) == data[offset : offset + count]
    assert len(web.asked) == asked
    for offset, count in [(9, 3 << 20), (99_999, 17_000), (0, len(data)), (len(data), 0)]:
        assert opened.read(offset, count) == data[offset : offset + count]
    with storage.open_stream(f"{web.url}/m.bin") as stream:
        assert stream.read() == data
        stream.seek(-7, os.SEEK_END)
        assert stream.read() == data[-7:]


def test_the_hub(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """A repository, by one listing and ranges; the token goes to the Hub, and not where the files are."""
    with Web() as elsewhere:
        hub(web, "owner/name", {"model.keras": KERAS, "sub/b.keras": KERAS}, elsewhere=elsewhere)
        monkeypatch.setenv("HF_ENDPOINT", web.url)
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        assert ckptdoctor.inspect("hf://owner/name/model.keras")[0].verdict == FULL
        assert [each.path for each in ckptdoctor.inspect("hf://owner/name", all=True)] == [
            "hf://owner/name/model.keras",
            "hf://owner/name/sub/b.keras",
        ]
        assert {each.headers.get("authorization") for each in web.asked} == {"Bearer hf_secret"}
        assert elsewhere.asked
        assert not any("hf_secret" in repr(each) for each in elsewhere.asked)


def test_a_repository_that_is_not_there(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or is private: the Hub does not tell which."""
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    assert "no such repository or revision, or it is private" in str(
        ckptdoctor.inspect("hf://owner/none/a.pt")[0].error
    )


def test_other_file_systems() -> None:
    """Whatever fsspec has: its memory, here."""
    import fsspec

    files = fsspec.filesystem("memory")
    files.pipe("/run/m.keras", KERAS)
    for each in (FIXTURES / "run-a").iterdir():
        files.pipe(f"/run-a/{each.name}", each.read_bytes())
    assert ckptdoctor.inspect("memory://run/m.keras")[0].verdict == FULL
    assert ckptdoctor.inspect("memory://run-a")[0].resolved == "memory://run-a/ckpt-7"


def test_schemes_that_nobody_knows() -> None:
    """Named with what could read it."""
    with pytest.raises(ckptdoctor.errors.UsageProblem, match="fsspec has no file system for nonsense://"):
        ckptdoctor.inspect("nonsense://a/b.pt")


def test_workers_ask_beside_what_was_named(web: Web, tmp_path: Path) -> None:
    """A hostile file that has taken over its reader cannot have its parent ask elsewhere."""
    from ckptdoctor.storage.counting import Traffic
    from ckptdoctor.storage.relay import answer

    web.files |= {"/a/m.bin": b"mine", "/b/secret.bin": b"not mine"}
    storage.named(f"{web.url}/a/m.bin")
    assert answer("read", (f"{web.url}/a/m.bin", 0, 4), Traffic()) == (True, b"mine")
    for path in (
        f"{web.url}/b/secret.bin",
        f"{web.url}/a/../b/secret.bin",
        "http://169.254.169.254/x",
        f"{tmp_path}/x",
    ):
        done, error = answer("read", (path, 0, 4), Traffic())
        assert not done
        assert "leads out of what was named" in str(error)
    for question, arguments in [("read", (f"{web.url}/a/m.bin", -1, 4)), ("delete", ()), (None, None), ("stat", (1,))]:
        assert not answer(question, arguments, Traffic())[0]
