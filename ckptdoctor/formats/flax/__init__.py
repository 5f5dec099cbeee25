"""Files of flax.serialization: `to_bytes`, `msgpack_serialize`, and the `checkpoint_N` of `save_checkpoint`."""

from ckptdoctor.formats.contract import ArtifactFormat, Reader
from ckptdoctor.state import Format, Generation

_ROOM = "ckptdoctor.formats.flax"

FORMATS = (
    ArtifactFormat(
        Format.FLAX_MSGPACK,
        recipe="flax",
        title="flax checkpoint (msgpack)",
        called="a msgpack document of flax",
        rename_to=".msgpack",
        endings={".msgpack": "a msgpack document of flax"},
        ending=".msgpack",
        holds="named",
        generations=(Generation.OPTAX,),
        program=f"{_ROOM}.writing:program",
        write=f"{_ROOM}.writing:write",
        write_options=("progress",),
        check=f"{_ROOM}.writing:check",
        verify="chain",
        strip=f"{_ROOM}.stripping:strip",
        release_hint="for a release, save the parameters alone: flax.serialization.to_bytes(state.params)",
        absent_hint="save the whole state: flax.serialization.to_bytes(state), not state.params; or put the state of "
        "another checkpoint here: {graft here}",
    ),
)
READERS = (Reader("flax", f"{_ROOM}.reading:read", (Format.FLAX_MSGPACK,), latest=f"{_ROOM}.locating:latest"),)
