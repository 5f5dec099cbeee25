"""safetensors: weights, and the optimizer state that programs of MLX, PyTorch and JAX put into it under names."""

from ckptdoctor.formats.contract import ArtifactFormat, Reader
from ckptdoctor.state import Format

_ROOM = "ckptdoctor.formats.safetensors"

FORMATS = (
    ArtifactFormat(
        Format.SAFETENSORS,
        recipe="plain-weights",
        title="safetensors",
        called="a safetensors file",
        rename_to=".safetensors",
        endings={".safetensors": "a safetensors file"},
        ending=".safetensors",
        create=f"{_ROOM}.writing:create",
        holds="named",
        unstrippable="a file of safetensors keeps an optimizer apart from the model: release the file with the weights",
        unwritable="safetensors files are read, not written: load both, exchange the tensors, and save again",
        release_hint="for a release, save the weights alone",
        absent_hint="safetensors are weights alone in most programs: the optimizer is in another file beside them",
    ),
)
READERS = (Reader("safetensors", f"{_ROOM}.reading:read", (Format.SAFETENSORS,)),)
