"""Files of torch.save and safetensors that were cut off: what is whole is salvaged, and only as it was saved."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support.commands import ckptdoctor as command

import ckptdoctor
from ckptdoctor.containers.bundles.reading import read_bundle
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


# ------------------------------------------------------------------------------------------------ TensorFlow's bundles


def _tensors(prefix: Path) -> dict[str, bytes]:
    """Every tensor of a bundle but the object graph, by its key."""
    held = read_bundle(str(prefix)).tensors
    return {key: assembled(ref).tobytes() for key, ref in held.items() if ref.dtype != "string"}


@pytest.mark.parametrize(
    "name", ["v2.10-tfk-ckpt-adam", "v2.21-k3-ckpt-adamw", "v2.10-tf1-adam_sharded", "v2.21-tf1-adam_partitioned"]
)
def test_a_bundle_cut_off_anywhere(museum: Path, tmp_path: Path, name: str) -> None:
    """What is kept is as it was saved, the rest is named; that the graph of objects is lost, loses nothing else."""
    (index,) = (museum / "tf" / name).glob("*.index")
    shards = sorted((museum / "tf" / name).glob(f"{index.stem}.data-*"))
    for each in (index, *shards):
        shutil.copy(each, tmp_path / each.name)
    prefix, wanted = tmp_path / index.stem, _tensors(museum / "tf" / name / index.stem)
    (tmp_path / "out").mkdir()
    cut = tmp_path / max(shards, key=os.path.getsize).name
    whole = cut.read_bytes()
    most = 0
    for end in [*range(0, len(whole), 97), len(whole) - 1]:
        os.chmod(cut, 0o644)
        cut.write_bytes(whole[:end])
        try:
            done = ckptdoctor.repair(prefix, tmp_path / "out" / "ckpt", fixes=["salvage"], overwrite=True)
        except ckptdoctor.errors.UnreadableArtifact:
            assert end < len(whole) // 2
            continue
        left = _tensors(tmp_path / "out" / "ckpt")
        assert left.items() <= wanted.items()
        named = sum(each.count(".OPTIMIZER_SLOT") for each in done.done[0].told if each.startswith("left out"))
        assert done.done[0].told[0].startswith(f"{len(left) + named:,} of ")
        (found,) = ckptdoctor.inspect(tmp_path / "out" / "ckpt")
        assert found.error is None
        assert len(left) >= most
        most = len(left)
    assert most >= len(wanted) - 1


def test_bytes_that_were_changed(museum: Path, tmp_path: Path) -> None:
    """Of a checkpoint that can be read, where it is asked for: what has its checksum is kept, and the hint says so."""
    for each in (museum / "tf/v2.10-tfk-ckpt-adam").glob("ckpt.*"):
        (tmp_path / each.name).write_bytes(each.read_bytes())
    data = tmp_path / "ckpt.data-00000-of-00001"
    wanted = _tensors(tmp_path / "ckpt")
    refused = command("repair", tmp_path / "ckpt", "--fix", "salvage", "--output", tmp_path / "out")
    assert (refused.code, "nothing to mend" in refused.err) == (4, True)
    changed = bytearray(data.read_bytes())
    changed[300] ^= 1
    data.write_bytes(changed)
    (hint,) = [
        each.hint for each in ckptdoctor.check(tmp_path / "ckpt", deep=True).results[0].findings if each.code == "I004"
    ]
    assert command(*hint.partition("salvaged: ckptdoctor ")[2].split()).code == 0
    left = _tensors(tmp_path / "ckpt-repaired")
    assert len(wanted) - 2 <= len(left) < len(wanted)
    assert left.items() < wanted.items()
    assert "I004" not in {
        each.code for each in ckptdoctor.check(tmp_path / "ckpt-repaired", deep=True).results[0].findings
    }
    assert command("repair", tmp_path / "ckpt", "--list").out.endswith("nothing is to be mended\n")


def test_slots_go_together(museum: Path, tmp_path: Path) -> None:
    """A first moment without its second would make steps as no optimizer does, and the verdict would be green."""
    for each in (museum / "tf/v2.10-tfk-ckpt-adam").glob("ckpt.*"):
        (tmp_path / each.name).write_bytes(each.read_bytes())
    data = tmp_path / "ckpt.data-00000-of-00001"
    changed = bytearray(data.read_bytes())
    held = read_bundle(str(tmp_path / "ckpt")).tensors
    for key in (each for each in held if "/optimizer/v/" in each):
        changed[held[key].location.offset] ^= 1  # type: ignore[union-attr]
    data.write_bytes(changed)
    done = ckptdoctor.repair(tmp_path / "ckpt", tmp_path / "out", fixes=["salvage"])
    assert done.done[0].told[0].startswith(f"{len(held) - 5} of {len(held) - 1} ")
    assert done.done[0].told[-1].startswith("left out, as other slots of the same variable are lost")
    assert not [key for key in read_bundle(str(tmp_path / "out")).tensors if ".OPTIMIZER_SLOT" in key]
    checked = ckptdoctor.check(tmp_path / "out")
    assert not checked.passed
    assert "S003" in {each.code for each in checked.results[0].findings}


def test_no_hint_for_what_is_within(museum: Path, tmp_path: Path) -> None:
    """Of the files of a SavedModel or of a directory of Keras nothing is salvaged, and no hint says so."""
    for name, file in (("tf/v2.21-tfk_pkg-sm-adam/sm", "variables/variables.data-00000-of-00001"),
                       ("keras/k3.15tf-adam-dir", "model.weights.h5")):  # fmt: skip
        folder = tmp_path / f"{Path(name).name}.keras"
        shutil.copytree(museum / name, folder)
        data = (folder / file).read_bytes()
        (folder / file).unlink()
        (folder / file).write_bytes(data[: len(data) // 2])
        (found,) = ckptdoctor.inspect(folder)
        assert [(each.code[:2], "salvage" in each.hint) for each in found.findings] == [("I0", False)]


def test_the_hint_for_a_short_data_file(museum: Path, tmp_path: Path) -> None:
    """It can be copied; where the only data file is missing, nothing can be salvaged, and no hint says so."""
    for each in (museum / "tf/v2.10-tfk-ckpt-adam").glob("ckpt.*"):
        (tmp_path / each.name).write_bytes(each.read_bytes()[: 2000 if "data" in each.name else None])
    (found,) = ckptdoctor.inspect(tmp_path / "ckpt")
    (finding,) = found.findings
    assert finding.code == "I003"
    assert command(*finding.hint.partition("salvaged: ckptdoctor ")[2].split()).code == 0
    (tmp_path / "ckpt.data-00000-of-00001").unlink()
    (found,) = ckptdoctor.inspect(tmp_path / "ckpt")
    assert [(each.code, "salvage" in each.hint) for each in found.findings] == [("I002", False)]
    assert command("repair", tmp_path / "ckpt", "--fix", "salvage", "--output", tmp_path / "o").code == 3
