"""The JSON files of an item, when leaves go and others come: `_METADATA`, `_sharding`, `array_metadatas`.

Sources: orbax.checkpoint, `_src/metadata/tree.py`, `_src/metadata/array_metadata_store.py` and
`_src/serialization/type_handlers.py`, 0.5.23 to 0.12.8.
"""

import base64
import json
import os
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.containers.msgpack_writing import Value
from ckptdoctor.containers.tensors.shard_data import Constant
from ckptdoctor.containers.zarrs.writing import NewArray
from ckptdoctor.formats.orbax.items import Leaf
from ckptdoctor.formats.orbax.metadata import json_object
from ckptdoctor.formats.orbax.places import PLACEHOLDER, TREE, listed
from ckptdoctor.references import TensorRef

Path = tuple[str, ...]
JAX = "jax.Array"
_SHARDING, _ARRAYS = "_sharding", "array_metadatas"
_NODES, _LISTED = "tree_metadata", "array_metadatas"
_INDEX, _KEY = 1, 2
_ONE_DEVICE = "SingleDeviceSharding"


class NewLeaf(NamedTuple):
    """A leaf that the result has and the target has not, or has with another value.

    Attributes:
        path: Its keys.
        indices: Which of them are indices of a sequence.
        kind: What `_METADATA` calls it: `jax.Array`, `np.ndarray`, `scalar`, `None`.
        array: Its value; None for an empty node.
        like: Name of an array of the target that lies on the same devices; "" for a scalar, which all of them have.
    """

    path: Path
    indices: tuple[bool, ...]
    kind: str
    array: NewArray | None
    like: str = ""


def leaf_as(leaf: Leaf, path: Path, content: TensorRef | Constant | None = None) -> NewLeaf:
    """A leaf of the target under another path, or with another value."""
    indices = leaf.indices[:1] * len(path) if len(leaf.indices) != len(path) else leaf.indices
    ref = leaf.tensor
    if ref is None:
        return NewLeaf(path, indices, leaf.kind, None)
    array = NewArray(".".join(path), ref.dtype, ref.shape, content or ref)
    return NewLeaf(path, indices, leaf.kind, array, ".".join(leaf.path))


class ItemEdit(NamedTuple):
    """What becomes of an item.

    Attributes:
        drop: Paths of the leaves that go.
        add: Those that come.
        roots: What those of optimizers lie below.
    """

    drop: frozenset[Path]
    add: tuple[NewLeaf, ...]
    roots: tuple[Path, ...] = ()

    @property
    def arrays(self) -> list[NewArray]:
        """The arrays that come."""
        return [leaf.array for leaf in self.add if leaf.array is not None]


def path_of(node: object) -> Path:
    """The keys of a leaf in `_METADATA`."""
    keys = node.get("key_metadata") if isinstance(node, Mapping) else None
    return tuple(str(each.get("key")) for each in keys if isinstance(each, Mapping)) if isinstance(keys, list) else ()


def nodes_of(fields: Mapping[str, object]) -> Mapping[str, object]:
    """The leaves in `_METADATA`."""
    nodes = fields.get(_NODES)
    return nodes if isinstance(nodes, Mapping) else {}


def documents(source: str, base: str, fields: Mapping[str, object], edit: ItemEdit) -> dict[str, object]:
    """The files that change, by their names in the item.

    Args:
        source: The target's item.
        base: The target's checkpoint, which no link may lead out of.
        fields: Its `_METADATA`.
        edit: What becomes of its leaves.

    Raises:
        UnreadableArtifact: A file is not what Orbax writes.
    """
    found: dict[str, object] = {TREE: {**fields, _NODES: _tree(nodes_of(fields), edit)}}
    gone = {".".join(path) for path in edit.drop}
    shardings = json_object(source, _SHARDING, base)
    if shardings is not None:
        found[_SHARDING] = _shardings(shardings, gone, edit.add)
    of_jax = [leaf for leaf in edit.add if leaf.kind == JAX and leaf.array is not None]
    folder = os.path.join(source, _ARRAYS)
    for number, name in enumerate(sorted(each for each in listed(folder) if each.startswith("process_"))):
        written = json_object(folder, name, base) or {}
        found[f"{_ARRAYS}/{name}"] = {**written, _LISTED: _described(written, gone, of_jax if not number else [])}
    return found


def _tree(nodes: Mapping[str, object], edit: ItemEdit) -> dict[str, object]:
    new = {str(leaf.path): leaf for leaf in edit.add}
    kept = {text: node for text, node in nodes.items() if path_of(node) not in edit.drop and text not in new}
    shapes = any(_value(node).get("write_shape") is not None for node in nodes.values())
    coming = {text: _node(leaf, shapes=shapes) for text, leaf in new.items()}
    if new.keys() <= nodes.keys():  # other values of the same leaves
        return {text: coming.get(text, node) for text, node in nodes.items() if text in new or text in kept}
    # Where Orbax would have them: a tree's leaves stand in the order of its keys.
    first = min((leaf.path for leaf in edit.add), default=())
    before = {text: node for text, node in kept.items() if path_of(node) < first}
    return {**before, **coming, **{text: node for text, node in kept.items() if text not in before}}


def _value(node: object) -> Mapping[str, object]:
    value = node.get("value_metadata") if isinstance(node, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def _node(leaf: NewLeaf, *, shapes: bool) -> dict[str, object]:
    keys = [
        {"key": key, "key_type": _INDEX if index else _KEY} for key, index in zip(leaf.path, leaf.indices, strict=True)
    ]
    value: dict[str, object] = {"value_type": leaf.kind, "skip_deserialize": leaf.array is None}
    if shapes and leaf.kind == JAX and leaf.array is not None:
        value["write_shape"] = list(leaf.array.shape)
    return {"key_metadata": keys, "value_metadata": value}


def aggregate(edit: ItemEdit) -> dict[Path, Value]:
    """What becomes of places in the file `checkpoint` of Orbax before 0.5.23: maps and lists, with the names of arrays.

    Source: orbax.checkpoint, `_src/handlers/base_pytree_checkpoint_handler.py` and `utils.py`, 0.4.8 to 0.5.20.
    """
    below: dict[Path, list[tuple[Path, tuple[bool, ...], NewLeaf]]] = {root: [] for root in edit.roots}
    beside: dict[Path, Value] = {}
    for leaf in edit.add:
        root = next((each for each in edit.roots if leaf.path[: len(each)] == each), None)
        if root is None:  # `step` of the program
            beside[leaf.path] = _placed(leaf)
        else:
            below[root].append((leaf.path[len(root) :], leaf.indices[len(root) :], leaf))
    return {**{root: _nested(leaves) if leaves else None for root, leaves in below.items()}, **beside}


def _placed(leaf: NewLeaf) -> str | None:
    return None if leaf.array is None else f"{PLACEHOLDER}{leaf.array.name}"


def _nested(leaves: Sequence[tuple[Path, tuple[bool, ...], NewLeaf]]) -> Value:
    path, indices, first = leaves[0]
    if not path:
        return _placed(first)
    below: dict[str, list[tuple[Path, tuple[bool, ...], NewLeaf]]] = {}
    for keys, are_indices, leaf in leaves:
        below.setdefault(keys[0], []).append((keys[1:], are_indices[1:], leaf))
    if indices[0]:
        return [_nested(below[key]) for key in sorted(below, key=int)]
    return {key: _nested(below[key]) for key in sorted(below)}


# -------------------------------------------------------------------------------------------------------- jax arrays


def _shardings(there: Mapping[str, object], gone: Collection[str], coming: Sequence[NewLeaf]) -> dict[str, object]:
    """Where arrays lie on devices: a slot as its variable does, a scalar on all of them."""
    kept = {name: text for name, text in there.items() if _decoded(name) not in gone}
    found = dict(kept)
    for leaf in coming:
        if leaf.kind != JAX or leaf.array is None:
            continue
        text = there.get(_encoded(leaf.array.name)) or there.get(_encoded(leaf.like)) if leaf.like else None
        text = text or there.get(_encoded(leaf.array.name)) or _everywhere(there)
        if text is not None:
            found[_encoded(leaf.array.name)] = text
    return found


def _encoded(name: str) -> str:
    return base64.b64encode(name.encode()).decode()


def _decoded(name: str) -> str:
    try:
        return base64.b64decode(name, validate=True).decode()
    except ValueError:
        return name


def _everywhere(there: Mapping[str, object]) -> str | None:
    """A sharding that splits nothing, on the devices of an array that is there."""
    texts = [text for text in there.values() if isinstance(text, str)]
    one = next((text for text in texts if _ONE_DEVICE in text), None)
    if one is not None or not texts:
        return one
    try:
        fields = json.loads(texts[0])
    except ValueError:
        return None
    if not isinstance(fields, dict) or "partition_spec" not in fields:
        return None
    return json.dumps({**fields, "partition_spec": []})


def _described(written: Mapping[str, object], gone: Collection[str], coming: Sequence[NewLeaf]) -> list[object]:
    """What a process says of the arrays that it wrote."""
    listed_ = written.get(_LISTED)
    there = listed_ if isinstance(listed_, list) else []
    new = {leaf.array.name: leaf.array for leaf in coming if leaf.array is not None}
    kept = [each for each in there if _name(each) not in gone and _name(each) not in new]
    added = [
        {
            "array_metadata": {
                "param_name": name,
                "write_shape": list(array.shape),
                "chunk_shape": [max(extent, 1) for extent in array.shape],
                "ext_metadata": None,
            }
        }
        for name, array in new.items()
    ]
    return sorted([*kept, *added], key=_name)


def _name(entry: object) -> str:
    about = entry.get("array_metadata") if isinstance(entry, Mapping) else None
    name = about.get("param_name") if isinstance(about, Mapping) else None
    return name if isinstance(name, str) else ""
