"""Artifacts in a bucket are read as those on this machine, with few requests."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import ckptdoctor as run
from support.museum import FIXTURES, files_of
from support.remote.servers import Bucket

import ckptdoctor
from ckptdoctor import storage
from ckptdoctor.errors import NoSuchPath, UsageProblem
from ckptdoctor.state import OptimizerState
from ckptdoctor.storage.network import network

_EACH = 1
"""Artifacts of each format."""


def _document(path: str, **how: Any) -> dict[str, Any]:
    found = ckptdoctor.inspect(path, **how)[0].to_dict(tensors=True)
    text: dict[str, Any] = json.loads(json.dumps(found).replace(os.path.dirname(path), "BASE"))
    return text


def test_every_format_is_read_the_same(bucket: Bucket, museum: Path, museum_truth: list[dict[str, Any]]) -> None:
    """Some of each format: names, slots, counts and the figures of all values."""
    taken: Counter[str] = Counter()
    chosen = [each for each in museum_truth if taken.update([each["format"]]) or taken[each["format"]] <= _EACH]
    for record in chosen:
        local = museum / record["path"]
        for each in files_of(local):
            bucket.put(each, f"museum/{each.relative_to(museum).as_posix()}")
    for record in chosen:
        local = museum / record["path"]
        url = f"{bucket.url}/museum/{record['path']}"
        assert _document(url, stats=True) == _document(os.fspath(local), stats=True), record["case"]
    assert len(taken) > 10


def test_run_directory(bucket: Bucket) -> None:
    """The latest of a run, all of it, its history, and what does not exist."""
    url = bucket.put(FIXTURES / "run-a", "run-a")
    assert ckptdoctor.inspect(url)[0].resolved == f"{url}/ckpt-7"
    assert [each.path for each in ckptdoctor.inspect(url, all=True)] == [f"{url}/ckpt-3", f"{url}/ckpt-7"]
    assert ckptdoctor.history(url).runs[0].resume is not None
    assert ckptdoctor.check(url).results[0].passed
    with pytest.raises(NoSuchPath, match="did you mean ckpt-7, ckpt-3"):
        ckptdoctor.inspect(f"{url}/ckpt-9")
    with pytest.raises(NoSuchPath):
        ckptdoctor.inspect(f"{bucket.url}/nothing/here")


def test_requests_of_a_small_checkpoint(bucket: Bucket) -> None:
    """A listing, the index, the data."""
    url = bucket.put(FIXTURES / "run-a", "small")
    ckptdoctor.inspect(f"{url}/ckpt-7")
    listed = sum(each.listings.pages for each in network()._places.values())
    assert storage.traffic()[0] + listed <= 3


def test_large_files_are_read_in_parts(bucket: Bucket, tmp_path: Path) -> None:
    """Of 40 MB of weights a few blocks are read, and the values only where they are asked for."""
    import torch

    file = tmp_path / "large.pt"
    model = torch.nn.Linear(1000, 3000)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(2, 1000)).sum().backward()
    optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    url = bucket.put(file, "large.pt")
    assert ckptdoctor.inspect(url)[0].verdict == "resumes at iteration 1 with full Adam state"
    requests, nbytes = storage.traffic()
    assert requests <= 8
    assert nbytes < 500_000
    weight = ckptdoctor.inspect(url)[0].state.variables[0].tensor  # type: ignore[union-attr]
    assert np.array_equal(weight.numpy(), model.weight.detach().numpy())


@pytest.mark.parametrize(
    ("steps", "sums", "most"), [((3,) * 40, True, 5), ((3, 9) * 20, True, 6), ((3, 9) * 20, False, 99)]
)
def test_steps_of_many_parameters(
    bucket: Bucket,
    tmp_path: Path,
    steps: tuple[int, ...],
    sums: bool,  # noqa: FBT001 - a parameter
    most: int,
) -> None:
    """What has another's size and checksum is not fetched again; torch may be told to write no checksums."""
    import torch

    parameters = [torch.nn.Parameter(torch.full((200, 200), float(number))) for number in range(len(steps))]
    optimizer = torch.optim.Adam(parameters)
    for each in parameters:
        each.grad = torch.ones_like(each)
    optimizer.step()
    for each, step in zip(parameters, steps, strict=True):
        optimizer.state[each]["step"].fill_(step)
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(sums)
    try:
        torch.save({"optimizer": optimizer.state_dict()}, tmp_path / "many.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    url = bucket.put(tmp_path / "many.pt", f"many-{len(set(steps))}-{sums}.pt")
    found = _only_optimizer(url)
    requests, _ = storage.traffic()
    assert requests <= most
    local = _only_optimizer(tmp_path / "many.pt")
    assert [each.value for each in found.counts] == [each.value for each in local.counts] == list(steps)
    moments = [float(slot.tensor.numpy().max()) for slot in found.slots]
    assert moments == [float(slot.tensor.numpy().max()) for slot in local.slots]


def _only_optimizer(path: str | Path) -> OptimizerState:
    state = ckptdoctor.inspect(path)[0].state
    assert state is not None
    return state.optimizers[0]


def test_what_was_saved_anew_is_read_anew(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing is believed for a moment."""
    from ckptdoctor.storage import listings

    url = bucket.put(FIXTURES / "keras3.keras", "again/model.keras")
    assert ckptdoctor.inspect(url)[0].format.value == "keras-archive"
    bucket.put(FIXTURES / "whole-model.h5", "again/model.keras")
    monkeypatch.setattr(listings, "monotonic", lambda: time.monotonic() + 60)
    assert ckptdoctor.inspect(url)[0].format.value == "keras-h5"


def test_no_file_leads_to_the_network(bucket: Bucket, tmp_path: Path) -> None:
    """A state file on this machine that names a bucket: what lies beside it is read, the bucket is not asked."""
    bucket.put(FIXTURES / "run-a", "moved")
    for each in (FIXTURES / "run-a").glob("ckpt-7.*"):
        (tmp_path / each.name).write_bytes(each.read_bytes())
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{bucket.url}/moved/ckpt-7"\n', encoding="utf-8")
    found = ckptdoctor.inspect(tmp_path)[0]
    assert found.resolved == f"{tmp_path}/ckpt-7"
    assert "is not asked for from here" in next(each.message for each in found.findings if each.code == "P001")
    assert storage.traffic() == (0, 0)


def test_state_file_of_a_bucket(bucket: Bucket, tmp_path: Path) -> None:
    """TensorFlow writes whole URLs there: they are followed within the bucket."""
    bucket.put(FIXTURES / "run-a", "named")
    state = tmp_path / "checkpoint"
    state.write_text(f'model_checkpoint_path: "{bucket.url}/named/ckpt-3"\n', encoding="utf-8")
    bucket.put(state, "named/checkpoint")
    assert ckptdoctor.inspect(f"{bucket.url}/named")[0].resolved == f"{bucket.url}/named/ckpt-3"


def test_command_line(bucket: Bucket) -> None:
    """From the shell, as users do; HDF5 in a worker that has no network."""
    url = bucket.put(FIXTURES / "whole-model.h5", "shell/whole-model.h5")
    done = run("inspect", url, **bucket.environment)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{url}: resumes at iteration 7 with full Adam state")
    done = run("check", url, "--jobs", "2", f"{bucket.url}/shell/nothing.h5", **bucket.environment)
    assert done.code == 2
    assert f"ckptdoctor: {bucket.url}/shell/nothing.h5: no such file" in done.err


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://user:secret@host/a.pt", "user or a password"),
        ("s3:///a.pt", "names no bucket"),
        ("hf://one", "names no repository"),
    ],
)
def test_urls_that_are_none(url: str, told: str) -> None:
    """One sentence, and no secret in it."""
    with pytest.raises(UsageProblem, match=told) as caught:
        ckptdoctor.inspect(url)
    assert "secret" not in str(caught.value)


def test_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that refuses is told as one; nothing of it is said to be missing."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    found = ckptdoctor.inspect("s3://bucket/run/ckpt-7")[0]
    assert str(found.error) == "the server cannot be reached"
