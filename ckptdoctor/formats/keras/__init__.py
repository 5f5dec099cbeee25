"""Keras' files: whole models and weights in HDF5, `.keras` archives, `.weights.h5`."""

from ckptdoctor.formats.contract import ArtifactFormat, Reader
from ckptdoctor.state import Format, Generation

_ROOM = "ckptdoctor.formats.keras"
_WEIGHTS = {".weights.h5": "weights alone"}
_HDF5 = dict.fromkeys((".h5", ".hdf5"), "a model or weights in the old HDF5 layout")
_WITHOUT = "for a release, save the model without it: load_model(path, compile=False).save(...)"
SAVING_THEIR_OWN = (Generation.KERAS2, Generation.KERAS3)
"""Generations whose optimizers put their variables into these files (Optimizer.save_own_variables, Keras 2.11)."""

FORMATS = (
    ArtifactFormat(
        Format.KERAS_H5,
        recipe="h5",
        title="Keras model in HDF5",
        called="a whole model in HDF5",
        rename_to=".h5",
        endings=_HDF5,
        ending=".h5",
        holds="named-list",
        configuration="required",
        isolated=True,
        write=f"{_ROOM}.writing.files:write_h5",
        write_options=("loss_from", "progress"),
        check=f"{_ROOM}.writing.checks:check_h5",
        verify="h5",
        refill=f"{_ROOM}.writing.refilling:refill_h5",
        strip=f"{_ROOM}.writing.stripping:strip_h5",
        release_hint=_WITHOUT,
    ),
    ArtifactFormat(
        Format.KERAS_H5_WEIGHTS,
        recipe="old-weights",
        title="Keras weights in HDF5 (old layout)",
        called="weights in the old HDF5 layout",
        rename_to=".h5",
        # Old tf.keras wrote its own HDF5 layout under any name that ends in .h5, .weights.h5 too.
        endings={**_WEIGHTS, **_HDF5},
        ending=".h5",
        isolated=True,
        unwritable="the old weights layout of HDF5 has no place for optimizer state: graft into a whole model, a "
        "`.keras` or a `.weights.h5`",
        absent_hint="this layout has no place for it: load the weights into the model, save that as MODEL.keras, and "
        "put the state back there: {graft}",
    ),
    ArtifactFormat(
        Format.KERAS_ARCHIVE,
        recipe="archive",
        title="Keras archive (.keras)",
        called="a .keras archive",
        rename_to=".keras",
        endings={".keras": "a .keras archive"},
        ending=".keras",
        required=(".keras",),
        ending_as=f"{_ROOM}.archive:ending_as",
        holds="list",
        configuration="required",
        config_form="object",
        generations=SAVING_THEIR_OWN,
        isolated=True,
        create=f"{_ROOM}.writing.anew:archive",
        created_bare=True,
        write=f"{_ROOM}.writing.files:write_keras_archive",
        write_options=("loss_from", "progress"),
        check=f"{_ROOM}.writing.checks:check_archive",
        verify="archive",
        refill=f"{_ROOM}.writing.refilling:refill_archive",
        strip=f"{_ROOM}.writing.stripping:strip_archive",
        release_hint=_WITHOUT,
    ),
    ArtifactFormat(
        Format.KERAS_WEIGHTS,
        recipe="weights",
        title="Keras weights (.weights.h5)",
        called="weights in the layout of .weights.h5",
        rename_to=".weights.h5",
        endings=_WEIGHTS,
        ending=".weights.h5",
        required=(".weights.h5", ".weights.json"),
        ending_as=f"{_ROOM}.shard_map:ending_as",
        holds="list",
        generations=SAVING_THEIR_OWN,
        isolated=True,
        program=f"{_ROOM}.weights:program",
        create=f"{_ROOM}.writing.anew:weights",
        created_from=Format.KERAS_ARCHIVE,
        write=f"{_ROOM}.writing.files:write_keras_weights",
        write_options=("progress",),
        check=f"{_ROOM}.writing.checks:check_weights",
        verify="weights",
        refill=f"{_ROOM}.writing.refilling:refill_weights",
        strip=f"{_ROOM}.writing.stripping:strip_weights",
        release_hint="for a release, save the weights of a model that was not compiled",
    ),
)
_OF_HDF5 = (Format.KERAS_H5, Format.KERAS_H5_WEIGHTS, Format.KERAS_WEIGHTS)
READERS = (
    Reader("hdf5", f"{_ROOM}.hdf5:read", _OF_HDF5),
    Reader("keras-archive", f"{_ROOM}.archive:read", (Format.KERAS_ARCHIVE,)),
    Reader("keras-weights", f"{_ROOM}.weights:read", (Format.KERAS_WEIGHTS,)),
    Reader("backup", f"{_ROOM}.backup:read", _OF_HDF5),
)
