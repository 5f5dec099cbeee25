"""New storages of a file of torch.save: the bytes of the tensors that are put into it, each once."""

from typing import NamedTuple

from ckptdoctor.containers.tensors.putting import nbytes_of
from ckptdoctor.containers.torchfiles.imports import Storage, TorchImports
from ckptdoctor.references import Inline, TensorRef


class Sizes(NamedTuple):
    """Bytes that are new in a file, and that were copied."""

    new: int = 0
    copied: int = 0


class Storages:
    """Tensors by the keys that they get; what two references share stays shared."""

    def __init__(self, taken: set[str]) -> None:
        """Begins with none.

        Args:
            taken: Keys that are in use.
        """
        self.tensors: dict[str, TensorRef] = {}
        self._taken = taken
        self._known: dict[object, str] = {}
        self._next = 0

    def keep(self, ref: TensorRef) -> str:
        """Keeps a tensor, and answers its key."""
        # Counts are counted apart, also those that were one: a ZeRO partition's is that of all of its parameters.
        shared = ref.size > 0 and bool(ref.shape) and not isinstance(ref.location, Inline)
        same = (ref.location, ref.dtype, ref.shape)
        if shared and same in self._known:
            return self._known[same]
        while str(self._next) in self._taken:
            self._next += 1
        key = str(self._next)
        self._taken.add(key)
        self._known[same] = key
        self.tensors[key] = ref
        return key

    @property
    def nbytes(self) -> int:
        """Bytes of all of them."""
        return sum(map(nbytes_of, self.tensors.values()))


class Remembering(TorchImports):
    """Keeps every storage that a pickle names, in the order in which it does."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[str, Storage] = {}

    def storage(self, found: Storage) -> Storage:
        """Keeps it."""
        return self.storages.setdefault(found.key, found)
