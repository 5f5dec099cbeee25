"""msgpack documents of flax without optimizers: every other byte stays as it is."""

from __future__ import annotations

from ckptdoctor.containers.bytes.copying import Progress, create
from ckptdoctor.containers.msgpack_writing import exchange
from ckptdoctor.errors import Refused
from ckptdoctor.formats.contract import Stripped
from ckptdoctor.formats.flax.reading import read


def strip(target: str, output: str, progress: Progress | None = None) -> Stripped:
    """Writes a document without the states of optimizers.

    Raises:
        Refused: It has none, or nothing else.
        UnreadableArtifact: It is corrupt.
    """
    state = read(target)
    names = tuple(each.name for each in state.optimizers if each.has_state)
    if not names:
        raise Refused("it holds no optimizer state: there is nothing to strip", target)
    paths = {"/".join(leaf.path[:end]): leaf.path[:end] for leaf in state.leaves for end in range(len(leaf.path) + 1)}
    if "" in names or not state.variables:
        raise Refused("it is an optimizer's state alone: without that nothing would be left", target)
    with open(create(output), "wb") as stream:
        sizes = exchange(target, stream, {paths[name]: None for name in names})
    if progress is not None:
        progress(sizes.new + sizes.copied)
    return Stripped(names, ("restore it by flax.serialization.from_bytes(target, data) with a target of what is left",))
