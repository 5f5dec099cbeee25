"""TensorFlow checkpoints of both versions, and SavedModels."""

from ckptdoctor.formats.contract import ArtifactFormat, Reader
from ckptdoctor.state import Format

STATE_FILE = "checkpoint"
"""What names the latest checkpoint of a directory (CheckpointState); `state_file.py` reads it."""

_ROOM = "ckptdoctor.formats.tensorflow"
_PROMISE = {".ckpt": "a TensorFlow checkpoint"}

FORMATS = (
    ArtifactFormat(
        Format.TF_CHECKPOINT,
        recipe="checkpoint",
        title="TensorFlow checkpoint",
        called="a TensorFlow checkpoint",
        rename_to=".ckpt",
        noun="checkpoint",
        endings=_PROMISE,
        is_prefix=True,
        holds="linked",
        adds_optimizers=True,
        summed=True,
        program=f"{_ROOM}.checkpoint:program",
        bundle=f"{_ROOM}.checkpoint:bundle",
        tables=f"{_ROOM}.checkpoint:tables",
        create=f"{_ROOM}.writing.anew:create",
        created_from=Format.KERAS_ARCHIVE,
        created_bare=True,
        write=f"{_ROOM}.writing.checkpoint:write",
        write_options=("link", "progress"),
        check=f"{_ROOM}.writing.checkpoint:check",
        found_by=f"{_ROOM}.state_file:names_to_add",
        refill=f"{_ROOM}.writing.refilling:refill",
        strip=f"{_ROOM}.writing.stripping:strip",
        verify="objects",
        release_hint="for a release, save the model alone: tf.train.Checkpoint(model=model).write(path)",
    ),
    ArtifactFormat(
        Format.TF_CHECKPOINT_V1,
        stripped_as=Format.TF_CHECKPOINT,
        recipe="names",
        title="TensorFlow V1 checkpoint",
        called="a TensorFlow V1 checkpoint",
        rename_to=".ckpt",
        noun="checkpoint",
        endings=_PROMISE,
        is_prefix=True,
        holds="named",
        tables="ckptdoctor.containers.bundles.v1:tables",
        write=f"{_ROOM}.writing.checkpoint:write",
        write_options=("link", "progress"),
        check=f"{_ROOM}.writing.checkpoint:check",
        found_by=f"{_ROOM}.state_file:names_to_add",
        strip=f"{_ROOM}.writing.stripping:strip",
        verify="names",
        release_hint="for a release, save the model's variables alone: Saver(tf.compat.v1.model_variables())",
    ),
    ArtifactFormat(
        Format.SAVED_MODEL,
        recipe="saved_model",
        title="SavedModel",
        called="a SavedModel",
        rename_to="nothing: it is a directory",
        noun="SavedModel",
        holds="linked",
        configuration="optional",
        metadata=("keras_metadata.pb", "saved_model.pb"),
        bundle=f"{_ROOM}.saved_model:variables_prefix",
        tables=f"{_ROOM}.saved_model:tables",
        write=f"{_ROOM}.writing.saved_model:write",
        write_options=("link", "progress"),
        check=f"{_ROOM}.writing.saved_model:check",
        verify="saved_model",
        refill=f"{_ROOM}.writing.refilling:refill_saved_model",
        unstrippable="its functions restore every variable by name when it is served, the optimizer's too: save the "
        "model again with model.save(path, include_optimizer=False)",
        release_hint="for a release, save the model without it: model.save(path, include_optimizer=False)",
        export_hint="an export is for serving: resume from the .keras file or checkpoint that the training saved",
    ),
)
READERS = (
    Reader("saved-model", f"{_ROOM}.saved_model:read", (Format.SAVED_MODEL,)),
    Reader(
        "tf-checkpoint",
        f"{_ROOM}.checkpoint:read",
        (Format.TF_CHECKPOINT,),
        points=f"{_ROOM}.state_file:points",
    ),
    Reader("tf-checkpoint-v1", f"{_ROOM}.checkpoint:read_v1_checkpoint", (Format.TF_CHECKPOINT_V1,)),
)
