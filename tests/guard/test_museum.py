"""Guards over every file of PyTorch in the museum: what torch itself restores passes, and what it drops does not."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import ckptdoctor
from ckptdoctor.errors import NotResumed
from ckptdoctor.examination import Examination
from ckptdoctor.guard import assert_resumed
from ckptdoctor.verification import pytorch
from ckptdoctor.verification.child.torch_optimizers import over, parameter

torch: Any = pytest.importorskip("torch", exc_type=ImportError)

ENDINGS = (".pt", ".ckpt", ".bin", ".pth", ".pkl", ".tar")


def _at(node: Any, name: str) -> Any:
    """What stands in a file under the keys that lead to an optimizer."""
    for key in filter(None, name.split("/")):
        node = node[key] if isinstance(node, dict) and key in node else node[int(key)]
    return node if isinstance(node, dict) else node.state_dict()


def _loaded(each: Examination, path: Path) -> list[Any] | None:
    """Its optimizers, made and loaded as a program does; None where this torch does not load the file."""
    assert each.state is not None
    try:
        root = torch.load(path, weights_only=False, map_location="cpu")
    except Exception:  # noqa: BLE001 - of packages that are not here, of versions that are gone
        return None
    made = []
    for held in each.optimizers:
        wanted = pytorch._described(pytorch._wanted(each.state, held), 0)
        made.append(over([parameter(one) for one in wanted["trained"]], wanted))
        made[-1].load_state_dict(_at(root, held.name))
    return made


@pytest.mark.filterwarnings("ignore")
def test_what_torch_restores(museum: Path) -> None:
    """No false alarm in 170 files of nine versions; text for numbers is dropped without a word, and is found."""
    passed, slots, refused = 0, 0, set()
    for path in sorted(museum.glob("torch*/**/*")):
        if not path.name.endswith(ENDINGS) or not path.is_file():
            continue
        (each,) = ckptdoctor.inspect(path)
        if each.state is None or not each.optimizers or not pytorch.is_of_torch(each.state):
            continue
        made = _loaded(each, path)
        if made is None:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = assert_resumed(made if len(made) > 1 else made[0], path, slots=None)
        except NotResumed as error:
            refused.add((path.name, error.codes))
        else:
            passed, slots = passed + 1, slots + found.slots
    assert refused == {("text-indices.pt", ("S017",))}
    assert passed > 100
    assert slots > 5 * passed
