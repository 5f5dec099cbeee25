"""Commands that write, from URLs and to them."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import obstore
import pytest
from support.commands import ckptdoctor as run
from support.frameworks import verified
from support.museum import FIXTURES, files_of
from support.remote.servers import Bucket, Losing, Web, hub

import ckptdoctor
from ckptdoctor import storage
from ckptdoctor.errors import Refused
from ckptdoctor.storage import objects, uploads
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
    assert verified(url, "tensorflow").path == url


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


def test_overwrite_takes_no_more_than_locally(bucket: Bucket) -> None:
    """A directory of the same name stays, a file of the same name too; only what is replaced goes."""
    url = bucket.put(FIXTURES / "run-a", "more")
    for key in (
        "more-out/team/precious.txt",
        "more-out/team",
        "more-out/team.data-00000-of-00001",
        "more-out/m.keras/x",
    ):
        obstore.put(bucket.store(), key, b"mine")
    ckptdoctor.graft(f"{url}/ckpt-3", url, f"{bucket.url}/more-out/team", overwrite=True)
    kept = {"more-out/team/precious.txt", "more-out/team", "more-out/m.keras/x"}
    written = {f"more-out/team.{ending}" for ending in ("index", "data-00000-of-00002", "data-00001-of-00002")}
    assert bucket.keys("more-out") == kept | written
    with pytest.raises(Refused, match="a directory is there"):
        ckptdoctor.strip(FIXTURES / "keras3.keras", f"{bucket.url}/more-out/m.keras", overwrite=True)
    assert bytes(obstore.get(bucket.store(), "more-out/m.keras/x").bytes()) == b"mine"


@pytest.mark.parametrize("output", ["ckpt-3", "ckpt-7"])
def test_inputs_are_no_outputs(bucket: Bucket, output: str) -> None:
    """Not with --overwrite, and not the checkpoint that a run directory means."""
    url = bucket.put(FIXTURES / "run-a", "same")
    with pytest.raises(Refused, match="one of the inputs"):
        ckptdoctor.graft(f"{url}/ckpt-3", url, f"{url}/{output}", overwrite=True)
    model = bucket.put(FIXTURES / "savedmodel", "same-model")
    with pytest.raises(Refused, match="lies inside one"):
        ckptdoctor.strip(model, f"{model}/inside", overwrite=True)


def test_shards_come_along(bucket: Bucket, museum: Path, museum_truth: list[dict[str, Any]]) -> None:
    """All files of what was written are there, also where one lists the others."""
    local = next(museum / each["path"] for each in museum_truth if each["path"].endswith(".weights.json"))
    for each in files_of(local):
        bucket.put(each, f"sharded/{each.name}")
    ckptdoctor.strip(f"{bucket.url}/sharded/{local.name}", f"{bucket.url}/sharded-out/{local.name}")
    assert len(bucket.keys("sharded-out")) > 1
    assert ckptdoctor.inspect(f"{bucket.url}/sharded-out/{local.name}")[0].status.value == "absent"


def test_large_files_go_in_parts(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part alone is in memory; what came there meanwhile is not replaced."""
    monkeypatch.setattr(objects, "_ONE_REQUEST", 1 << 20)
    folder = tmp_path / "built"
    folder.mkdir()
    data = os.urandom(20 << 20)
    (folder / "m.bin").write_bytes(data)
    url = f"{bucket.url}/parts/m.bin"
    uploads.upload(os.fspath(folder), url, overwrite=False)
    found = obstore.get(bucket.store(), "parts/m.bin")
    assert bytes(found.bytes()) == data
    assert str(found.meta["e_tag"]).strip('"').endswith("-3")
    obstore.put(bucket.store(), "parts/other.bin", b"somebody else's")
    monkeypatch.setattr(uploads, "require_free", lambda *_, **__: None)
    monkeypatch.setattr(uploads, "_replaced", lambda *_: [])
    (folder / "m.bin").rename(folder / "other.bin")
    with pytest.raises(Refused, match="somebody else has written there meanwhile; nothing of it is visible"):
        uploads.upload(os.fspath(folder), f"{bucket.url}/parts/other.bin", overwrite=False)
    assert bytes(obstore.get(bucket.store(), "parts/other.bin").bytes()) == b"somebody else's"


def test_answers_that_are_lost(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index was stored, its answer was lost, and the second time the server says that something is there: ours."""
    url = bucket.put(FIXTURES / "run-a", "lost")
    with Losing(bucket.environment["AWS_ENDPOINT_URL"]) as between:
        monkeypatch.setenv("AWS_ENDPOINT_URL", between.url)
        storage.use(None)
        between.lost["/tests/lost-out/ckpt-7.index"] = 1
        ckptdoctor.graft(f"{url}/ckpt-3", url, f"{url}-out/ckpt-7")
        assert between.lost["/tests/lost-out/ckpt-7.index"] == 0
    assert len(bucket.keys("lost-out")) == 3


def test_a_state_file_that_names_another_directory(bucket: Bucket, tmp_path: Path) -> None:
    """Its checkpoint is what is fetched."""
    bucket.put(FIXTURES / "run-a", "there")
    state = tmp_path / "checkpoint"
    state.write_text(f'model_checkpoint_path: "{bucket.url}/there/ckpt-3"\n', encoding="utf-8")
    bucket.put(state, "here/checkpoint")
    ckptdoctor.strip(f"{bucket.url}/here", tmp_path / "out")
    assert (tmp_path / "out.index").exists()


def test_a_disk_that_is_nearly_full(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a part of what is written: the rest is written again, or the command ends; no hole is taken for data."""
    url = bucket.put(FIXTURES / "keras3.keras", "full/m.keras")
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: write(file, data[:1000], at))
    ckptdoctor.convert(url, tmp_path / "m.weights.h5")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(Refused, match="no space left on device; TMPDIR may name a larger place"):
        ckptdoctor.convert(url, tmp_path / "n.weights.h5")
    assert [each.name for each in tmp_path.iterdir()] == ["m.weights.h5"]


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
