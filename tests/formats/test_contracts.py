"""Every format keeps the promises of all of them."""

from __future__ import annotations

import pickle
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from support.format_contract import FormatContract, copied
from support.museum import FIXTURES

from ckptdoctor.checking.policy import Policy
from ckptdoctor.checking.run import check_paths
from ckptdoctor.examination import examine
from ckptdoctor.formats.registry import FORMATS
from ckptdoctor.state import Format


class TestCheckpoint(FormatContract):
    """TensorFlow's checkpoints."""

    kind = Format.TF_CHECKPOINT


class TestOldCheckpoint(FormatContract):
    """Those of TensorFlow 1's first format."""

    kind = Format.TF_CHECKPOINT_V1
    becomes = Format.TF_CHECKPOINT


class TestSavedModel(FormatContract):
    """SavedModels."""

    kind = Format.SAVED_MODEL
    unread = frozenset({"fingerprint.pb"})


class TestKerasModel(FormatContract):
    """Whole models in HDF5."""

    kind = Format.KERAS_H5


class TestOldKerasWeights(FormatContract):
    """Weights in HDF5, before Keras 3."""

    kind = Format.KERAS_H5_WEIGHTS


class TestKerasArchive(FormatContract):
    """`.keras` archives."""

    kind = Format.KERAS_ARCHIVE

    def more(self, folder: Path) -> Iterator[str]:
        """The directory that an archive unpacks to."""
        shutil.unpack_archive(FIXTURES / "keras3.keras", folder / "unpacked", "zip")
        yield str(folder / "unpacked")


class TestKerasWeights(FormatContract):
    """`.weights.h5`."""

    kind = Format.KERAS_WEIGHTS


_CHUNK = re.compile(r"/zarr[23]/.*/(c|[\d.]+|c/[\d/]+)\Z")


class TestOrbax(FormatContract):
    """Orbax' directories."""

    kind = Format.ORBAX_CHECKPOINT
    unread = frozenset({"commit_success.txt"})  # a path, which nobody reads

    def is_read(self, file: Path) -> bool:
        """Of the processes' databases only values are wanted, and small ones are in the merged one."""
        return super().is_read(file) and "ocdbt.process_" not in str(file) and not _CHUNK.search(str(file))

    def test_cut_chunks(self, museum: Path, tmp_path: Path) -> None:
        """How long a compressed chunk should be nobody knows before it is unpacked, as `--deep` does."""
        for name in ("zarr2", "zarr3"):
            copy = Path(copied(str(museum / "orbax-jax" / name), tmp_path / name))
            chunks = [each for each in copy.rglob("*") if _CHUNK.search(str(each)) and each.is_file()]
            assert chunks
            for each in chunks:
                data = each.read_bytes()
                each.write_bytes(data[:-1])
                (found,) = check_paths([str(copy)], Policy(deep=True))
                assert "I004" in {finding.code for finding in found.findings} or found.exit_code == 3, each
                assert found.exit_code, each
                each.write_bytes(data)

    def test_values_of_processes(self, museum: Path, tmp_path: Path) -> None:
        """Values above 1,024 bytes lie in the data of their process: it has to be there, and whole."""
        copy = Path(copied(str(museum / "orbax-jax" / "large"), tmp_path / "copy"))
        codes = set()
        for each in copy.glob("ocdbt.process_0/d/*"):
            data = each.read_bytes()
            each.write_bytes(data[: len(data) // 2])
            (cut,) = examine(str(copy))
            each.unlink()
            (gone,) = examine(str(copy))
            codes.add((cut.error and cut.error.code, gone.error and gone.error.code))
            each.write_bytes(data)
        assert ("I003", "I002") in codes

    def test_manifests_of_processes(self, artifacts: list[str], tmp_path: Path) -> None:
        """Without those the merged database is whole, and what is missing is told."""
        for number, path in enumerate(artifacts):
            copy = Path(copied(path, tmp_path / str(number)))
            for each in copy.rglob("ocdbt.process_*/manifest.ocdbt"):
                each.write_bytes(each.read_bytes()[:-1])
                (found,) = examine(str(copy))
                assert found.error is None, each
                assert "I007" in {finding.code for finding in found.findings}, each


class TestDump(FormatContract):
    """Lists of arrays."""

    kind = Format.OPTIMIZER_DUMP

    def more(self, folder: Path) -> Iterator[str]:
        """Lists and tuples in every protocol of pickle, and named arrays."""
        arrays = [np.asarray(7, "int64"), *(np.full(shape, 0.5, "float32") for shape in ((3, 2), (2,)) for _ in "mv")]
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            for kind in (list, tuple):
                path = folder / f"{kind.__name__}-{protocol}.pkl"
                path.write_bytes(pickle.dumps(kind(arrays), protocol))
                yield str(path)
        np.savez(folder / "list.npz", *arrays)
        yield str(folder / "list.npz")


class TestTorch(FormatContract):
    """Files of torch.save, and skorch's two of them."""

    kind = Format.TORCH_CHECKPOINT


class TestLightning(FormatContract):
    """Lightning's checkpoints."""

    kind = Format.LIGHTNING_CHECKPOINT


class TestTrainer(FormatContract):
    """`checkpoint-N` of transformers' Trainer."""

    kind = Format.HF_TRAINER


class TestAccelerate(FormatContract):
    """What Accelerator.save_state leaves."""

    kind = Format.ACCELERATE_STATE


class TestDeepSpeed(FormatContract):
    """DeepSpeed's directories."""

    kind = Format.DEEPSPEED


class TestBaselines(FormatContract):
    """stable-baselines3's archives."""

    kind = Format.STABLE_BASELINES3


class TestDistributed(FormatContract):
    """Directories of torch.distributed.checkpoint."""

    kind = Format.TORCH_DCP

    def is_read(self, file: Path) -> bool:
        """Of data that is not there the rest is read: `test_cut_data`."""
        return super().is_read(file) and file.suffix != ".distcp"

    def test_cut_data(self, artifacts: list[str], tmp_path: Path) -> None:
        """What a cut file should hold is named, by its key and the file."""
        for number, path in enumerate(artifacts):
            copy = Path(copied(path, tmp_path / str(number)))
            (file,) = copy.glob("*.distcp")
            data = file.read_bytes()
            file.write_bytes(data[:-1])
            (cut,) = examine(str(copy))
            file.unlink()
            (gone,) = examine(str(copy))
            for found in (cut, gone):
                assert any(each.code == "I002" and file.name in each.message for each in found.findings), path


class TestSafetensors(FormatContract):
    """safetensors files."""

    kind = Format.SAFETENSORS


class TestFlax(FormatContract):
    """msgpack documents of flax."""

    kind = Format.FLAX_MSGPACK


def test_every_format_has_a_contract() -> None:
    """A new format has one as well."""
    held = {each.kind for each in FormatContract.__subclasses__()}
    assert held == {each.id for each in FORMATS} - {Format.UNKNOWN}
