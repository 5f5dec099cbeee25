"""Archives that torch wrote without checksums: whole, and nobody can tell whether they are as they were saved."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

import ckptdoctor
from ckptdoctor.containers.zips.archive import ZipArchive

torch: Any = pytest.importorskip("torch")
if not hasattr(torch.serialization, "set_crc32_options"):
    pytest.skip("this torch always writes checksums", allow_module_level=True)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A model and its Adam; `summed.pt` beside it is the same with checksums."""
    net = torch.nn.Linear(600, 600)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 600)).sum().backward()
    optimizer.step()
    content = {"model": net.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(content, tmp_path / "summed.pt")
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(content, tmp_path / "saved.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    return tmp_path / "saved.pt"


def _loads_as_before(path: Path, saved: Path) -> None:
    """Whole, with correct checksums, and with the same weights."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    before, after = torch.load(saved), torch.load(path)
    assert torch.equal(before["model"]["weight"], after["model"]["weight"])
    if "optimizer" in after:
        assert torch.equal(before["optimizer"]["state"][0]["exp_avg"], after["optimizer"]["state"][0]["exp_avg"])


def test_is_read(saved: Path) -> None:
    """As torch.load reads it; that nothing is vouched for is told, and nothing is called damaged."""
    found = ckptdoctor.inspect(saved)[0]
    assert found.verdict == "resumes at iteration 1 with full Adam state"
    assert "I009" in {each.code for each in found.findings}
    assert "I009" not in {each.code for each in ckptdoctor.inspect(saved.with_name("summed.pt"))[0].findings}
    assert ckptdoctor.check(saved, deep=True).passed


@pytest.mark.parametrize("donor", ["saved.pt", "summed.pt"])
@pytest.mark.parametrize("target", ["saved.pt", "summed.pt"])
def test_what_is_made_of_it_has_checksums(saved: Path, donor: str, target: str) -> None:
    """A zero that is copied beside others would be a wrong one."""
    out = saved.with_name("out.pt")
    ckptdoctor.graft(saved.with_name(donor), saved.with_name(target), out)
    _loads_as_before(out, saved)
    assert ckptdoctor.check(out, deep=True).passed
    ckptdoctor.strip(saved.with_name(target), saved.with_name("stripped.pt"))
    _loads_as_before(saved.with_name("stripped.pt"), saved)


def test_one_zero_is_a_damaged_member(saved: Path) -> None:
    """Where the others have checksums, none is missing."""
    summed = saved.with_name("summed.pt")
    data = summed.read_bytes()
    with ZipArchive(str(summed)) as archive:
        crc = archive.crc("summed/data/0").to_bytes(4, "little")
    assert crc in data
    summed.write_bytes(data.replace(crc, bytes(4)))
    assert not ckptdoctor.check(summed, deep=True).passed
