"""Orbax checkpoints: those of Keras' OrbaxCheckpoint, and trees of JAX programs."""

from ckptdoctor.formats.contract import ArtifactFormat, Reader
from ckptdoctor.state import Format, Generation

_ROOM = "ckptdoctor.formats.orbax"

FORMATS = (
    ArtifactFormat(
        Format.ORBAX_CHECKPOINT,
        recipe="orbax",
        title="Orbax checkpoint",
        called="an Orbax checkpoint",
        rename_to="any name: Orbax looks at what is in it",
        noun="checkpoint",
        holds="named",
        configuration="optional",
        config_form="object",
        generations=(Generation.KERAS3, Generation.OPTAX),
        metadata=("_METADATA", "_CHECKPOINT_METADATA"),
        program=f"{_ROOM}.keras_tree:program",
        write=f"{_ROOM}.writing.steps:write",
        write_options=("link", "loss_from", "progress"),
        check=f"{_ROOM}.writing.steps:check",
        verify="orbax",
        refill=f"{_ROOM}.writing.refilling:refill",
        strip=f"{_ROOM}.writing.stripping:strip",
        release_hint="for a release, save with OrbaxCheckpoint(..., save_weights_only=True), or the tree without its "
        "optimizer state",
        absent_hint="nothing was lost on the way: OrbaxCheckpoint(save_weights_only=True) or the program saved weights "
        "alone; save again with the optimizer's state, or put that of another checkpoint here: {graft here}",
    ),
)
READERS = (
    Reader(
        "orbax",
        f"{_ROOM}.reading:read",
        (Format.ORBAX_CHECKPOINT,),
        claims=f"{_ROOM}.locating:checkpoint_at",
        latest=f"{_ROOM}.locating:latest_in",
        points=f"{_ROOM}.locating:points",
    ),
)
