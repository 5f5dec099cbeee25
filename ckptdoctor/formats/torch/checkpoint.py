"""Files of torch.save, whatever lies in them: a state_dict, a dictionary of anything, a whole model or optimizer."""

from __future__ import annotations

from collections.abc import Iterable

from ckptdoctor.containers.pickles.reading import Node
from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.containers.torchfiles.reading import Loaded, load
from ckptdoctor.errors import UsageProblem
from ckptdoctor.formats.torch.assembly import assemble
from ckptdoctor.formats.torch.contents import Contents, Model, contents
from ckptdoctor.formats.torch.paths import paths_in
from ckptdoctor.formats.torch.progress import logged_in, of_lightning
from ckptdoctor.formats.torch.safety import noticed
from ckptdoctor.state import Format, ModelVariable, Producer, TrainingState

_LIGHTNING = "pytorch-lightning_version"


def read(path: str) -> TrainingState:
    """Reads a file of torch.save.

    Raises:
        UnreadableArtifact: It is none, truncated, or claims what is not there.
    """
    loaded = load(path)
    return _read(path, loaded, contents(loaded.root))


def read_alone(path: str, variables: Iterable[ModelVariable]) -> TrainingState:
    """Reads an optimizer that was saved alone, whose parameters are these variables.

    Raises:
        UnreadableArtifact: It is none, truncated, or claims what is not there.
        UsageProblem: It has a model of its own.
    """
    loaded = load(path)
    found = contents(loaded.root)
    if found.models or not found.optimizers:
        raise UsageProblem(
            "--model is for an optimizer that was saved alone: this file has a model of its own, or no optimizer"
        )
    tensors = {each.path: each.tensor for each in variables}
    by_name = any(str(getattr(each.location, "path", "")).endswith(".safetensors") for each in tensors.values())
    found.models.append(Model("", tensors, sorted_names=by_name))
    return _read(path, loaded, found)


def _read(path: str, loaded: Loaded, found: Contents) -> TrainingState:
    version = _lightning(loaded.root)
    oddities = [*noticed(loaded), *paths_in(loaded.root)]
    with kept_open():
        if version is None and not _is_published(path, loaded.root):
            state = assemble(path, Format.TORCH_CHECKPOINT, Producer("torch"), found, oddities)
        else:
            oddities += of_lightning(loaded.root)
            state = assemble(path, Format.LIGHTNING_CHECKPOINT, Producer("lightning", version), found, oddities)
        return state._replace(logged=logged_in(loaded.root))


def _lightning(root: Node) -> str | None:
    version = root.get(_LIGHTNING) if isinstance(root, dict) else None
    return version[:40] if isinstance(version, str) else None


def _is_published(path: str, root: Node) -> bool:
    """A checkpoint of Lightning as model zoos strip it: nothing but `state_dict`, and still called `.ckpt`."""
    return isinstance(root, dict) and list(root) == ["state_dict"] and path.endswith(".ckpt")
