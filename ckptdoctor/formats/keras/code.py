"""What runs when somebody loads a model: the code, and the names of code, that its configuration carries."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from ckptdoctor.state import Oddity
from ckptdoctor.words import counted

_SHOWN = 5
_PLAIN = (str, int, float, type(None))
"""Most of what a configuration holds; asking whether one of these is a mapping takes ten times as long."""
_STANDARD = sys.stdlib_module_names - {"builtins"}


def lambda_layers(count: int) -> str:
    """That a model has layers with Python code in them."""
    return f"{counted(count, 'Lambda layer')} {'carries' if count == 1 else 'carry'} Python code that loading would run"


def code_inside(config: object) -> tuple[Oddity, ...]:
    """What runs when somebody loads the model: layers that carry Python code, and names of Python's own library.

    Keras imports the `module` that a configuration names (CVE-2025-1550). Packages of the user's own are how custom
    layers are saved; `builtins` is how Keras 3 writes functions (serialization_lib.serialize_keras_object).
    """
    pending, count = [config], 0
    named: dict[str, None] = {}
    while pending:
        node = pending.pop()
        if isinstance(node, _PLAIN):
            continue
        if isinstance(node, Mapping):
            count += node.get("class_name") in ("Lambda", "__lambda__")  # a list: the value may be unhashable
            module = node.get("module")
            if isinstance(module, str) and module.partition(".")[0] in _STANDARD:
                named[f"{module}.{node.get('class_name')}"] = None
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    found = [Oddity("X001", lambda_layers(count))] if count else []
    if named:
        names = ", ".join(list(named)[:_SHOWN])
        found.append(Oddity("X001", f"the configuration names {names}, no part of Keras: loading would import it"))
    return tuple(found)
