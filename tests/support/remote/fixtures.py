"""Fixtures of tests on URLs: the servers, and a network that nothing was asked of yet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.remote.servers import Bucket, Web, s3

from ckptdoctor import storage


@pytest.fixture(autouse=True)
def fresh_network(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> Iterator[None]:
    """Nothing is remembered of stores, and the machine's own credentials are none of the tests'."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL", "HF_TOKEN", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("AWS_CONFIG_FILE", f"{tmp_path}/none")
    monkeypatch.setenv("HF_HOME", f"{tmp_path}/none")
    storage.use(None)
    yield
    storage.use(None)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Bucket]:
    """A bucket; tests share it, each below a key of its own."""
    with s3("tests") as bucket:
        yield bucket


@pytest.fixture
def bucket(s3_server: Bucket, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The bucket, found by the environment as users' are."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return s3_server


@pytest.fixture
def web() -> Iterator[Web]:
    """A web server."""
    with Web() as server:
        yield server
