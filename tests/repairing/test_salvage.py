"""Files of torch.save and safetensors that were cut off: what is whole is salvaged, and only as it was saved."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.commands import ckptdoctor as command

import ckptdoctor
from ckptdoctor.containers.safetensors import read_safetensors
from ckptdoctor.containers.tensors.values import assembled, kept_open


def _weights(path: Path) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    (found,) = ckptdoctor.inspect(path)
    held = found.state.variables if found.state is not None else ()
    with kept_open():
        return {each.path: (each.tensor.dtype, each.tensor.shape, assembled(each.tensor).tobytes()) for each in held}


@pytest.mark.parametrize("name", ["torch2.13/adam.pt", "torch1.12/adam.pt", "torch2.13/lightning.ckpt"])
def test_a_file_cut_off_anywhere(museum: Path, tmp_path: Path, name: str) -> None:
    """What is salvaged is as it was saved; where nothing is whole, that is said; never more than a sentence."""
    whole = (museum / name).read_bytes()
    wanted = _weights(museum / name)
    path, out = tmp_path / f"a{Path(name).suffix}", tmp_path / f"out{Path(name).suffix}"
    most = 0
    for end in range(40, len(whole) - 30, 173):
        path.write_bytes(whole[:end])
        try:
            ckptdoctor.repair(path, out, fixes=["salvage"], overwrite=True)
        except ckptdoctor.errors.CkptDoctorError:
            continue
        left = _weights(out)
        assert left.items() <= wanted.items()
        assert len(left) >= most or not left
        most = max(most, len(left))
    assert most == len(wanted)


def test_what_is_not_as_it_was_saved_is_lost(museum: Path, tmp_path: Path) -> None:
    """A byte that was changed is found by the CRC-32 behind its member; what follows it is salvaged no more."""
    data = bytearray((museum / "torch2.13/adam.pt").read_bytes())
    wanted = _weights(museum / "torch2.13/adam.pt")
    data[data.index(b"/data/2") + 100] ^= 0x10
    path = tmp_path / "a.pt"
    path.write_bytes(data[: data.index(b"PK\x01\x02")])
    assert "--fix salvage" in command("repair", "--list", path).out
    ckptdoctor.repair(path, tmp_path / "out.pt", fixes=["salvage"])
    left = _weights(tmp_path / "out.pt")
    assert left.items() < wanted.items()
    (found,) = ckptdoctor.inspect(tmp_path / "out.pt")
    assert found.error is None


def test_what_can_be_read_is_not_salvaged(museum: Path, tmp_path: Path) -> None:
    """Nor is what is no archive of torch.save."""
    assert command("repair", museum / "torch2.13/adam.pt", "--fix", "salvage", "--output", tmp_path / "a").code == 4
    for content in (b"", b"PK\x03\x04", b"PK\x03\x04" + bytes(200), os.urandom(3000)):
        (tmp_path / "a.pt").write_bytes(content)
        result = command("repair", tmp_path / "a.pt", "--fix", "salvage", "--output", tmp_path / "b.pt")
        assert (result.code, len(result.err.splitlines())) == (3, 1)
    assert os.listdir(tmp_path) == ["a.pt"]


@pytest.mark.parametrize("name", ["torch2.13/safetensors-optimizer.safetensors"])
def test_safetensors_cut_off_anywhere(museum: Path, tmp_path: Path, name: str) -> None:
    """Of optimizer state too: what is all there is as it was, the rest is named; a cut header leaves nothing."""
    whole = (museum / name).read_bytes()
    wanted = read_safetensors(str(museum / name)).tensors
    values = {key: assembled(ref).tobytes() for key, ref in wanted.items()}
    header = 8 + int.from_bytes(whole[:8], "little")
    path, out = tmp_path / "a.safetensors", tmp_path / "out.safetensors"
    most = 0
    for end in [*range(0, len(whole), 61), len(whole) - 1]:
        path.write_bytes(whole[:end])
        done = command("repair", path, "--fix", "salvage", "--output", out, "--overwrite") if end % 4 == 0 else None
        try:
            ckptdoctor.repair(path, out, fixes=["salvage"], overwrite=True)
        except ckptdoctor.errors.CkptDoctorError:
            assert done is None or done.code in {2, 3, 4}
            assert end <= header or most == 0
            continue
        left = {key: assembled(ref).tobytes() for key, ref in read_safetensors(str(out)).tensors.items()}
        assert left.items() <= values.items()
        assert len(left) == sum(ref.location.offset + ref.location.nbytes <= end for ref in wanted.values())  # type: ignore[union-attr]
        most = len(left)
    assert most == len(wanted) - 1
