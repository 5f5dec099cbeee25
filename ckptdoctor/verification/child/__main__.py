"""`python -m ckptdoctor.verification.child`: a request as JSON on stdin, the answer as `reply.json` in its folder.

Frameworks write what they like to stdout and stderr; nobody parses that.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from ckptdoctor.verification.child import attempts, frameworks


def main() -> None:
    """Answers one request."""
    request = json.load(sys.stdin)
    reply = answer(request)
    temporary = os.path.join(request["folder"], "reply.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(reply, file)
    os.replace(temporary, os.path.join(request["folder"], "reply.json"))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """What the framework holds after each call that the request's kind of artifact is loaded by."""
    try:
        framework = frameworks.load(request["framework"])
    except frameworks.MissingFramework as missing:
        return {"missing": str(missing)}
    return dict(
        attempts.run(_kind(request["kind"]), framework, request),
        framework=framework.name,
        version=framework.version,
        tensorflow=framework.tensorflow_version,
    )


def _kind(name: str) -> Any:
    if name.startswith("torch-"):
        return _of_torch(name)
    if name in {"archive", "h5", "saved_model"}:
        from ckptdoctor.verification.child import models

        return models
    if name == "orbax":
        from ckptdoctor.verification.child import orbax

        return orbax
    if name == "chain":
        from ckptdoctor.verification.child import chains

        return chains
    if name == "weights":
        from ckptdoctor.verification.child import weights

        return weights
    if name == "objects":
        from ckptdoctor.verification.child import objects

        return objects
    if name == "names":
        from ckptdoctor.verification.child import names

        return names
    from ckptdoctor.verification.child import dumps

    return dumps


def _of_torch(name: str) -> Any:
    if name == "torch-distributed":
        from ckptdoctor.verification.child import torch_distributed

        return torch_distributed
    if name == "torch-program":
        from ckptdoctor.verification.child import torch_trainers

        return torch_trainers
    from ckptdoctor.verification.child import torch_files

    return torch_files


if __name__ == "__main__":
    main()
