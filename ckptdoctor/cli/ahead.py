"""What takes long to start, and is started while the rest of a command is loaded."""

from __future__ import annotations

import os

_WRITER = "ckptdoctor.formats.keras.writing.files"
_BUILDER = "ckptdoctor.grafting.building.apply"


def writer(target: str) -> None:
    """Starts the process that writes HDF5, where a target looks as if it were needed; what it is, nobody has read yet.

    Loading HDF5's library takes as long as all of a graft until something is written.
    """
    if not os.path.isfile(target):
        return
    from ckptdoctor.containers.hdf5.signature import HDF5
    from ckptdoctor.containers.zips.signature import SIGNATURE

    try:
        with open(target, "rb") as file:
            beginning = file.read(len(HDF5))
    except OSError:  # whoever reads it says so
        return
    if beginning == HDF5 or (beginning.startswith(SIGNATURE) and target.endswith(".keras")):
        from ckptdoctor.isolation.client import begun

        begun(_WRITER, _BUILDER, beside="h5py")
