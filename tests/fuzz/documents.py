"""Damage inside what has a structure of its own: a value in a JSON document, a member of an archive."""

from __future__ import annotations

import copy
import io
import json
import random
import zipfile
from collections.abc import Callable
from typing import Any

from ckptdoctor.containers.protos import checkpoint_pb2 as pb

Bytes = Callable[[random.Random, bytes, bytes], bytes]

ODD: tuple[object, ...] = (
    None, True, False, 0, -1, 2, 0.5, -0.0, 1e308, -1e-320, float("nan"), float("inf"), 1 << 63, 1 << 70, 10**400, "",
    "Adam", "3.²", "9" * 5000, "\ud800", "\x1b[31m\n::error::", "a/" * 2000, [], {}, [None], {"": None}, [[[[[]]]]],
    ["a", 1, 2], {"class_name": "Adam", "config": {}}, {"class_name": "CosineDecay", "config": {"decay_steps": 0}},
    {"class_name": "LossScaleOptimizer", "config": {"inner_optimizer": {"class_name": "Adam", "config": {}}}},
)  # fmt: skip
"""What may stand anywhere in a document that anybody can write."""


def odd_document(choose: random.Random, text: bytes) -> bytes:
    """A JSON document with a few values replaced, left out, or put in another's place; other text stays as it is."""
    try:
        document = json.loads(text)
    except ValueError:
        return text
    for _ in range(choose.choice((1, 1, 2, 5))):
        places = list(_places(document))
        if not places:
            return json.dumps(choose.choice(ODD)).encode()
        holder, key = choose.choice(places)
        what = choose.random()
        if what < 0.1:
            del holder[key]
        elif what < 0.25:
            other, there = choose.choice(places)
            holder[key] = copy.deepcopy(other[there])
        else:
            holder[key] = copy.deepcopy(choose.choice(ODD))
    return json.dumps(document).encode()


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Every value's holder and its key or index there; JSON in a string is a document too deep for this."""
    found: list[tuple[Any, Any]] = []
    waiting = [node]
    while waiting:
        holder = waiting.pop()
        inner = holder.items() if isinstance(holder, dict) else enumerate(holder) if isinstance(holder, list) else ()
        for key, value in inner:
            found.append((holder, key))
            waiting.append(value)
    return found


def odd_metadata(choose: random.Random, data: bytes) -> bytes:
    """A `keras_metadata.pb` with a few values of its JSON replaced."""
    metadata = pb.KerasMetadata.FromString(data)
    node = metadata.nodes[0] if choose.random() < 0.7 else choose.choice(list(metadata.nodes))
    node.metadata = odd_document(choose, node.metadata.encode()).decode()
    return metadata.SerializeToString()


def odd_member(choose: random.Random, data: bytes, damage: Bytes) -> bytes:
    """A zip archive with one member damaged, and every length and checksum put right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w") as made:
        names = archive.namelist()
        documents = [name for name in names if name.endswith(".json")]
        chosen = choose.choice(documents if documents and choose.random() < 0.7 else names)
        for name in names:
            member = archive.read(name)
            if name == chosen and name in documents:
                member = odd_document(choose, member)
            elif name == chosen and member:
                member = damage(choose, member, member)
            made.writestr(archive.getinfo(name), member)
    return out.getvalue()
