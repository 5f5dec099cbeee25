"""Every format keeps the promises of all of them."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from support.format_contract import FormatContract
from support.museum import FIXTURES

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


def test_every_format_has_a_contract() -> None:
    """A new format has one as well."""
    held = {each.kind for each in FormatContract.__subclasses__()}
    assert held == {each.id for each in FORMATS} - {Format.UNKNOWN}
