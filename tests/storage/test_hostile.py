"""A world that is odd, hostile or unlucky: keys, servers that lie, what is stale, what may not be told."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
from click.testing import CliRunner
from support.museum import FIXTURES
from support.remote.servers import Bucket, Web, hub

import ckptdoctor
from ckptdoctor import storage
from ckptdoctor.checking.policy import Override, Policy
from ckptdoctor.cli import cli
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.errors import UsageProblem
from ckptdoctor.scanning.run import scan
from ckptdoctor.storage import objects
from ckptdoctor.storage.addresses import parse
from ckptdoctor.storage.network import network

KERAS = (FIXTURES / "keras3.keras").read_bytes()
H5 = (FIXTURES / "whole-model.h5").read_bytes()
ODD = [
    "with space",
    "per%cent",
    "per%20cent",
    "ha#sh",
    "que?st",
    "ünï",
    "plus+and&",
    "back\\slash",
    "\ue000",
    "0",
    "[br]*",
]


def _put(bucket: Bucket, *keys: str, data: bytes = KERAS) -> None:
    """By boto3, which takes keys that obstore does not."""
    client = boto3.client(
        "s3", endpoint_url=bucket.environment["AWS_ENDPOINT_URL"], region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip
    for key in keys:
        client.put_object(Bucket="tests", Key=key, Body=b"" if key.endswith("/") else data)
    storage.use(None)


def _formats(*paths: str) -> list[str]:
    return [ckptdoctor.inspect(each)[0].format.value for each in paths]


# ------------------------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize("name", ODD)
def test_odd_names(bucket: Bucket, name: str) -> None:
    """Each is read by the name that it has."""
    folder = f"odd/{ODD.index(name)}"
    _put(bucket, f"{folder}/{name}", f"{folder}/sub {name}/m.keras")
    url = f"{bucket.url}/{folder}"
    assert _formats(f"{url}/{name}") == ["keras-archive"]
    assert {each.path for each in ckptdoctor.inspect(url, all=True)} == {f"{url}/{name}", f"{url}/sub {name}/m.keras"}


def test_folders_that_are_marked_by_objects(bucket: Bucket) -> None:
    """The S3 console makes an empty object for a folder: it is a folder, with all that lies in it."""
    _put(bucket, "marked/", "marked/sub/", "marked/sub/m.keras")
    url = f"{bucket.url}/marked"
    assert _formats(f"{url}/sub", f"{url}/sub/") == ["keras-archive"] * 2
    assert [each.path for each in ckptdoctor.inspect(url, all=True)] == [f"{url}/sub/m.keras"]


def test_an_object_and_a_folder_of_one_name(bucket: Bucket, tmp_path: Path) -> None:
    """Both are read."""
    _put(bucket, "both/model", "both/model/inside.keras")
    url = f"{bucket.url}/both"
    assert {each.path for each in ckptdoctor.inspect(url, all=True)} == {f"{url}/model", f"{url}/model/inside.keras"}
    assert scan([url], tmp_path / "out", Policy()).summary.artifacts == 2


def test_keys_that_are_no_paths(bucket: Bucket, tmp_path: Path) -> None:
    """`a//b`: its folder cannot be listed, which is told; all else can."""
    _put(bucket, *(f"slashes/{name}" for name in ("a.keras", "x//m", "x/n.keras", "z/b.keras", "w/./q")))
    url = f"{bucket.url}/slashes"
    assert _formats(f"{url}/a.keras", f"{url}/z/b.keras", f"{url}/z") == ["keras-archive"] * 3
    assert "empty part" in str(ckptdoctor.inspect(f"{url}/x")[0].error)
    found = scan([url], tmp_path / "out", Policy())
    assert (found.summary.artifacts, found.summary.statuses["complete"], found.exit_code) == (4, 2, 3)


def test_a_listing_goes_on(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Azure cannot begin in the middle: the pages of one listing are one listing."""
    monkeypatch.setattr(objects, "_PAGE", 10)
    _put(bucket, *(f"pages/{number:02d}" for number in range(35)))
    store = network().store(parse(f"{bucket.url}/pages"))
    assert isinstance(store, objects.Bucket)
    begun: list[object] = []
    real = store._library

    class Counted:
        exceptions = real.exceptions

        def list(self, *args: object, **how: object) -> object:
            begun.append(args)
            return real.list(*args, **how)

    monkeypatch.setattr(store, "_library", Counted())
    assert len(storage.names(f"{bucket.url}/pages")) == 35
    assert len(begun) == 1


# --------------------------------------------------------------------------------------------------- stale answers


def test_nothing_is_stale(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a server without ranges, of one that tells no versions, of the Hub: what is there now is read."""
    monkeypatch.setattr("ckptdoctor.storage.listings._FRESH", 0.0)
    web.files["/m.keras"] = KERAS
    web.faults["/m.keras"] = ["whole"]
    assert _formats(f"{web.url}/m.keras") == ["keras-archive"]
    web.files["/m.keras"] = H5
    assert _formats(f"{web.url}/m.keras") == ["keras-h5"]

    web.faults.clear()
    web.tags = False
    web.files["/big.bin"] = b"a" * (5 << 20)
    assert storage.open_range(storage.named(f"{web.url}/big.bin")).read(3 << 20, 3) == b"aaa"
    web.files["/big.bin"] = b"b" * (5 << 20)
    assert storage.open_range(storage.named(f"{web.url}/big.bin")).read(3 << 20, 3) == b"bbb"

    monkeypatch.setenv("HF_ENDPOINT", web.url)
    hub(web, "owner/name", {"m.keras": KERAS})
    assert _formats("hf://owner/name/m.keras") == ["keras-archive"]
    hub(web, "owner/name", {"m.keras": H5, "new.keras": KERAS})
    assert _formats("hf://owner/name/m.keras", "hf://owner/name/new.keras") == ["keras-h5", "keras-archive"]


def test_queries_choose(web: Web) -> None:
    """Two files at one address are two files, also side by side; another signature is the same file."""
    web.files |= {"/get?id=1": KERAS, "/get?id=2": H5}
    one, two = f"{web.url}/get?id=1", f"{web.url}/get?id=2"
    assert _formats(one, two, one) == ["keras-archive", "keras-h5", "keras-archive"]
    compared = ckptdoctor.diff(one, two)
    assert (compared.a.format.value, compared.b.format.value) == ("keras-archive", "keras-h5")
    checked = ckptdoctor.check(one, two, jobs=2).results
    assert [each.path for each in checked] == [f"{web.url}/get", f"{web.url}(2)/get"]
    web.files["/m.keras"] = KERAS
    for signature in ("a", "b"):
        assert ckptdoctor.inspect(f"{web.url}/m.keras?X-Amz-Signature={signature}")[0].path == f"{web.url}/m.keras"


# ------------------------------------------------------------------------------------------------------- servers


def test_errors_are_not_read_out_of_names(web: Web) -> None:
    """Whatever a key is called, the reason is the server's."""
    for path in ("/run/.metadata", "/timeout/m.keras", "/timed out.keras", "/Range request not supported"):
        web.files[path] = KERAS
        web.faults[path] = [400] * 9
        assert str(ckptdoctor.inspect(f"{web.url}{path.replace(' ', '%20')}")[0].error) == (
            "the server answered 400 Bad Request"
        )


def test_redirects_in_a_circle(web: Web) -> None:
    """Told as one."""
    web.moved["/m.keras"] = f"{web.url}/m.keras"
    assert "leads in a circle" in str(ckptdoctor.inspect(f"{web.url}/m.keras")[0].error)


@pytest.mark.parametrize(
    "listing",
    ["", "{", "[1, 2]", '{"a": 1}', "[" * 100_000]
    + [
        json.dumps([{"type": "file", "path": path, "size": size}])
        for path, size in [("m.keras", "abc"), ("m.keras", -5), ("m.keras", 1e300), ("m.keras", None), (["m.keras"], 5)]
    ],
)
def test_hubs_that_lie(web: Web, monkeypatch: pytest.MonkeyPatch, listing: str) -> None:
    """What is no listing is no reason to think that nothing is there."""
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    web.files["/api/models/owner/name/tree/main"] = listing.encode()
    assert "answers what is no listing" in str(ckptdoctor.inspect("hf://owner/name/m.keras")[0].error)


def test_the_token_stays_with_the_hub(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where its listing is said to be on another server."""
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with Web() as elsewhere:
        hub(elsewhere, "owner/name", {"m.keras": KERAS})
        api = "/api/models/owner/name/tree/main"
        web.moved[api] = elsewhere.url + api
        web.files["/owner/name/resolve/main/m.keras"] = KERAS
        assert _formats("hf://owner/name/m.keras") == ["keras-archive"]
        assert elsewhere.asked
        assert "hf_secret" not in repr(elsewhere.asked)


def test_a_hub_that_is_busy(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked again."""
    monkeypatch.setattr("ckptdoctor.storage.hub._PAUSES", (0.0, 0.0))
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    hub(web, "owner/name", {"m.keras": KERAS})
    web.faults["/api/models/owner/name/tree/main"] = [503, 429]
    assert _formats("hf://owner/name/m.keras") == ["keras-archive"]


def test_ctrl_c_while_a_server_is_silent(tmp_path: Path) -> None:
    """It ends the command at once, not when the time of the request is over."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        command = [sys.executable, "-m", "ckptdoctor", "inspect", f"http://127.0.0.1:{silent.getsockname()[1]}/m.h5"]
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            with silent.accept()[0] as asked:
                asked.recv(1000)
                began = time.monotonic()
                process.send_signal(signal.SIGINT)
                assert process.stderr is not None
                assert process.stderr.read().strip() == b"ckptdoctor: interrupted"
                assert process.wait() == 130
            assert time.monotonic() - began < 10


def test_what_cannot_be_had_is_not_missing(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files that may be artifacts one is denied: it is an entry that says so, whatever it is called."""
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    hub(web, "owner/name", {"run/m.keras": KERAS, "run/model": KERAS, "run/global_step7": KERAS})
    web.faults["/owner/name/resolve/main/run/model"] = [403] * 99
    found = {each.path: str(each.error or "") for each in ckptdoctor.inspect("hf://owner/name/run", all=True)}
    assert set(found) == {f"hf://owner/name/run/{name}" for name in ("m.keras", "model", "global_step7")}
    assert "access is denied" in found["hf://owner/name/run/model"]


# ------------------------------------------------------------------------------------------------------- secrets


COMMANDS = [
    ["inspect", "URL"], ["inspect", "URL", "--format", "json"], ["check", "URL", "--format", "sarif"],
    ["check", "URL", "--format", "junit"], ["check", "URL", "--jobs", "2", "--format", "json"], ["check", "-"],
    ["history", "URL"], ["diff", "URL", "URL"], ["recipe", "URL"], ["scan", "URL", "--output", "out"],
    ["scan", "URL", "--output=URL"], ["graft", "--from", "URL", "--into", "URL", "--output", "o.keras"],
    ["graft", "URL", "URL"], ["strip", "URL", "--output", "o.keras"], ["strip", "URL", "--output", "URL"],
    ["convert", "URL", "--output", "o.weights.h5"], ["repair", "URL", "--in-place"], ["verify", "URL"],
]  # fmt: skip


@pytest.mark.parametrize("name", ["denied", "none"])
def test_no_secret_is_told(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A signed address, and one with a password: whatever fails, no command, no form and no file has them."""
    monkeypatch.chdir(tmp_path)
    web.files["/denied.keras"] = KERAS
    web.faults["/denied.keras"] = [403] * 9999
    for url in (f"{web.url}/{name}.keras?sig=S3CRET&token=S3CRET", f"http://user:S3CRET@{web.url[7:]}/{name}.keras"):
        for command in COMMANDS:
            done = CliRunner().invoke(cli, [each.replace("URL", url) for each in command], input=url)
            told = [done.output, *(os.fspath(each) for each in tmp_path.rglob("*"))]
            told += [each.read_text(errors="replace") for each in tmp_path.rglob("*") if each.is_file()]
            assert "S3CRET" not in "".join(told), command
            assert done.exit_code in {1, 2, 3, 4}, command


@pytest.mark.parametrize("url", ["sftp://u:S3CRET@host/a.pt", "s3://KEY:S3CRET@bucket/a.pt", "hf://u:S3CRET@a/b/c.pt"])
def test_passwords_in_any_scheme(url: str) -> None:
    """Not taken, and not told."""
    with pytest.raises(UsageProblem, match="user or a password") as caught:
        ckptdoctor.inspect(url)
    assert "S3CRET" not in f"{caught.value} {caught.value.path}"


# ------------------------------------------------------------------------------------- what goes by paths elsewhere


def test_settings_for_some_paths(bucket: Bucket) -> None:
    """Overrides of a configuration file, wherever that lies, meet URLs by bucket and key."""
    _put(bucket, "settings/scratch/cut.keras", "settings/kept/cut.keras", data=KERAS[:3000])
    policy = Policy(overrides=(Override(("**/scratch/",), {"fail_on": Severity.ERROR, "ignore": ("I",)}, "/nowhere"),))
    assert policy.for_path(f"{bucket.url}/settings/scratch/cut.keras").ignore == ("I",)
    assert policy.for_path(f"{bucket.url}/settings/kept/cut.keras").ignore == ()


@pytest.mark.parametrize("name", ["run-a", "whole-model.h5", "savedmodel", "keras3.keras"])
def test_recipes(bucket: Bucket, name: str) -> None:
    """The script is that of the local artifact, and says that the artifact has to be copied first."""
    url = bucket.put(FIXTURES / name, f"recipes/{name}")
    script = ckptdoctor.recipe(url)
    assert script.replace("  # copy it to this machine, and name that: most frameworks read files", "").replace(
        url, os.fspath(FIXTURES / name)
    ) == ckptdoctor.recipe(FIXTURES / name)


def test_a_pointer_that_cannot_be_had(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """DeepSpeed's `latest` is denied: told, and no other tag is taken."""
    monkeypatch.setenv("HF_ENDPOINT", web.url)
    hub(
        web,
        "owner/name",
        {"latest": b"global_step7", "global_step7/mp_rank_00_model_states.pt": b"x", "m.keras": KERAS},
    )
    web.faults["/owner/name/resolve/main/latest"] = [403] * 99
    assert "access is denied" in str(ckptdoctor.inspect("hf://owner/name")[0].error)
