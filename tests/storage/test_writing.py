"""Commands that write, from URLs and to them."""

from __future__ import annotations

from pathlib import Path

import obstore
import pytest
from support.commands import ckptdoctor as run
from support.museum import FIXTURES
from support.remote.servers import Bucket, Web, hub

import ckptdoctor
from ckptdoctor.errors import Refused
from ckptdoctor.storage import uploads
from ckptdoctor.storage.contract import Object


def test_graft(bucket: Bucket, tmp_path: Path) -> None:
    """Both sides and the result in a bucket: what is written is what a local graft writes."""
    url = bucket.put(FIXTURES / "run-a", "graft")
    receipt = ckptdoctor.graft(f"{url}/ckpt-3", url, f"{url}-out/ckpt-7")
    assert receipt.plan.output == f"{url}-out/ckpt-7"
    ckptdoctor.graft(FIXTURES / "run-a" / "ckpt-3", FIXTURES / "run-a", tmp_path / "ckpt-7")
    assert bucket.keys("graft-out") == {f"graft-out/{each.name}" for each in tmp_path.iterdir()}
    for each in tmp_path.iterdir():
        assert bytes(obstore.get(bucket.store(), f"graft-out/{each.name}").bytes()) == each.read_bytes()
    assert ckptdoctor.inspect(f"{url}-out/ckpt-7")[0].optimizers[0].iterations == 3


def test_strip_convert_repair_verify(bucket: Bucket, web: Web) -> None:
    """Each of them; and from a web server, whose files are known by their addresses."""
    url = bucket.put(FIXTURES / "keras3.keras", "write/m.keras")
    web.files["/m.keras"] = (FIXTURES / "keras3.keras").read_bytes()
    assert ckptdoctor.strip(f"{web.url}/m.keras", f"{url}-stripped.keras").output == f"{url}-stripped.keras"
    assert ckptdoctor.inspect(f"{url}-stripped.keras")[0].status.value == "absent"
    ckptdoctor.convert(url, f"{url}.weights.h5")
    assert ckptdoctor.inspect(f"{url}.weights.h5")[0].optimizers[0].iterations == 7
    assert ckptdoctor.verify(url).path == url


def test_what_is_there_stays(bucket: Bucket) -> None:
    """An output that exists is refused, in place is refused, and with --overwrite the new one is there."""
    url = bucket.put(FIXTURES / "keras3.keras", "stays/m.keras")
    bucket.put(FIXTURES / "keras3.keras", "stays/out.keras")
    before = obstore.head(bucket.store(), "stays/out.keras")["e_tag"]
    with pytest.raises(Refused, match=r"out\.keras exists already"):
        ckptdoctor.strip(url, f"{bucket.url}/stays/out.keras")
    with pytest.raises(Refused, match="not changed in place"):
        ckptdoctor.repair(url, in_place=True)
    assert obstore.head(bucket.store(), "stays/out.keras")["e_tag"] == before
    ckptdoctor.strip(url, f"{bucket.url}/stays/out.keras", overwrite=True)
    assert obstore.head(bucket.store(), "stays/out.keras")["e_tag"] != before


def test_somebody_was_faster(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """What came there after the first look is not replaced, and what was put beside it is taken away."""
    url = bucket.put(FIXTURES / "run-a", "faster")
    replaced = uploads._replaced

    def late(local: str, url: str, keys: list[str]) -> list[Object]:
        found = replaced(local, url, keys)
        obstore.put(bucket.store(), "faster-out/ckpt-7.index", b"somebody else's")
        return found

    monkeypatch.setattr(uploads, "_replaced", late)
    with pytest.raises(Refused, match="somebody else has written there meanwhile; nothing of it is visible"):
        ckptdoctor.graft(f"{url}/ckpt-3", url, f"{url}-out/ckpt-7")
    assert bucket.keys("faster-out") == {"faster-out/ckpt-7.index"}


def test_data_first(tmp_path: Path) -> None:
    """What says that the others are there is uploaded after them."""
    names = ["checkpoint", "ckpt-1.index", "ckpt-1.data-00000-of-00001"]
    for name in names:
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / name).write_bytes(b"x")
    found = [Path(key).name for _, key in uploads._files(str(tmp_path), "a")]
    assert found == names[::-1]


def test_names_that_lead_out(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Hub that lists what would be written elsewhere, or nowhere: none of it is fetched."""
    weights = (FIXTURES / "keras3.keras").read_bytes()
    names = ["run/m.keras", "run/../../../../../../tmp/evil", "run//twice", "run/./dot", "run/a\0b", "../evil"]
    hub(web, "owner/name", dict.fromkeys(names, weights))
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    assert [each.path for each in ckptdoctor.inspect("hf://owner/name", all=True)] == ["hf://owner/name/run/m.keras"]
    ckptdoctor.strip("hf://owner/name/run", tmp_path / "out.keras")
    assert [each.name for each in tmp_path.iterdir()] == ["out.keras"]
    assert not Path("/tmp/evil").exists()


def test_where_nothing_can_be_written(bucket: Bucket, web: Web) -> None:
    """Web servers, repositories: refused before anything is fetched."""
    url = bucket.put(FIXTURES / "keras3.keras", "nowhere/m.keras")
    for place in (f"{web.url}/out.keras", "hf://owner/name/out.keras", bucket.url):
        done = run("strip", url, "--output", place, **bucket.environment)
        assert done.code == 4, done.err
        assert "only buckets" in done.err
