"""Where in a file of torch.save an optimizer and its scheduler are, or go."""

from __future__ import annotations

from ckptdoctor.containers.pickles.reading import Node, Thing
from ckptdoctor.containers.torchfiles.writing.splicing import Path
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.torch.contents import Fields, contents, written
from ckptdoctor.references import TensorRef

_SUFFIX = "_state_dict"


def path_to(node: Node, label: str, target: str) -> Path:
    """The keys behind a label, as `contents` gives them.

    Raises:
        GraftRefused: They lead through an object of a program's own.
    """
    if not label:
        return ()
    if isinstance(node, Thing):
        raise GraftRefused(
            f"{label!r} is within a {node.name}, which was pickled whole: save its state_dict, and graft into that",
            target,
        )
    items = enumerate(node) if isinstance(node, (list, tuple)) and not isinstance(node, TensorRef) else ()
    known = [*(node.items() if isinstance(node, dict) else items)]
    for key, each in known:
        name = written(key)
        if label == name or label.startswith(f"{name}/"):
            return (key, *path_to(each, label[len(name) + 1 :], target))
    raise GraftRefused(f"the target has no {label!r}", target)


def fields_at(node: Node, path: Path) -> Fields | None:
    """The dictionary at a path."""
    for key in path:
        if isinstance(node, dict):
            node = node.get(key)
        elif isinstance(node, (list, tuple)) and isinstance(key, int):
            node = node[key]
        else:
            return None
    return node if isinstance(node, dict) else None


def is_bare(root: Node, target: str) -> bool:
    """Whether a file is nothing but a model's state_dict.

    Raises:
        GraftRefused: It is a whole object, beside which nothing has a place.
    """
    if isinstance(root, Thing):
        raise GraftRefused(
            f"the target is a {root.name} that was pickled whole: save its state_dict, and graft into that", target
        )
    if not isinstance(root, dict):
        raise GraftRefused(
            "the target is no dictionary: there is no place for an optimizer beside what it holds", target
        )
    return any(not each.label for each in contents(root).models)


def new_key(root: Node, what: str, asked: str | None, donors: str) -> str:
    """What a dictionary calls an optimizer, or a scheduler, that it gets.

    Args:
        root: The dictionary.
        what: `optimizer` or `scheduler`.
        asked: The user's word.
        donors: The donor's.
    """
    held = root.items() if isinstance(root, dict) else ()
    taken = {written(key) for key, each in held if each is not None and each != {}}
    with_suffix = any(name.endswith(_SUFFIX) for name in taken)
    usual = f"{what}{_SUFFIX}" if with_suffix else what
    given = donors.removesuffix(".pth") if "/" not in donors and not donors.endswith((".pt", ".bin")) else ""
    given = given if given != what else ""  # as the rest of the dictionary does
    wanted = (asked, given, usual, *(f"{what}_{number}" for number in range(1, len(taken) + 2)))
    return next(name for name in wanted if name and name not in taken)
