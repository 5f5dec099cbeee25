"""What torch.save writes is read as torch.load reads it: any nesting, any type, views, strides and shared storages."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from support.pytorch.structures import files

from ckptdoctor.containers.pickles.reading import Node, Thing
from ckptdoctor.containers.tensors.values import assembled
from ckptdoctor.containers.torchfiles.reading import load
from ckptdoctor.references import Location, TensorRef

torch = pytest.importorskip("torch", exc_type=ImportError)


def _same(ours: Node, theirs: Any, places: dict[int, Location | None]) -> None:
    """Fails where one is not the other; `places` has where each tensor of theirs is said to lie."""
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, TensorRef)
        plain = theirs.detach()
        assert (ours.dtype, ours.shape) == (str(plain.dtype).removeprefix("torch."), tuple(plain.shape))
        found = assembled(ours)
        assert found.size == plain.numel()
        theirs_flat = torch.empty(plain.numel(), dtype=plain.dtype).copy_(plain.reshape(-1))
        assert not found.size or found.tobytes() == theirs_flat.view(torch.uint8).numpy().tobytes()
        assert places.setdefault(id(theirs), ours.location) == ours.location
    elif isinstance(theirs, dict):
        assert isinstance(ours, dict)
        assert list(ours) == list(theirs)
        for key, each in theirs.items():
            _same(ours[key], each, places)
    elif isinstance(theirs, (list, tuple)):
        assert isinstance(ours, (list, tuple)) and type(ours) is type(theirs)  # noqa: PT018 - the types narrow
        for one, other in zip(ours, theirs, strict=True):
            _same(one, other, places)
    elif isinstance(theirs, float):
        assert isinstance(ours, float)
        assert ours == theirs or (math.isnan(ours) and math.isnan(theirs))
    else:
        assert type(ours) is type(theirs)
        assert ours == theirs


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files())
@example(({}, False))
@example(([1, "two"], True))
@example(([torch.ones(3, 2).to(torch.float8_e5m2)[:, 1]], False))
@example(([torch.ones(0)[None][:, 0:]], False))
def test_as_torch_reads_it(tmp_path: Path, case: tuple[Any, bool]) -> None:
    """Structure, types, shapes and every bit; what is one tensor lies in one place."""
    content, legacy = case
    path = tmp_path / "any.pt"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    theirs = torch.load(path, weights_only=False)
    _same(load(str(path)).root, theirs, {})


@pytest.mark.parametrize("legacy", [False, True])
def test_views_share_their_storage(tmp_path: Path, legacy: bool) -> None:  # noqa: FBT001
    """A storage is in the file once, however many views it has: places overlap as the views do."""
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    path = tmp_path / "views.pt"
    content = {"whole": base, "row": base[2], "column": base[:, 1], "tied": base}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    root = load(str(path)).root
    assert isinstance(root, dict)
    whole, row, column, tied = (root[name] for name in content)
    assert isinstance(whole, TensorRef)
    assert isinstance(row, TensorRef)
    assert isinstance(column, TensorRef)
    assert isinstance(tied, TensorRef)
    assert whole.location == tied.location
    assert whole.location is not None
    assert row.location == whole.location._replace(offset=whole.location.offset + 48, nbytes=24)  # type: ignore[union-attr, call-arg]
    assert assembled(column).tolist() == [1.0, 7.0, 13.0, 19.0]


ODD: dict[str, tuple[Callable[[], Any], str, tuple[int, ...]]] = {
    "conjugated": (lambda: torch.ones(2, dtype=torch.complex64).conj(), "complex64", (2,)),
    "on no device": (lambda: torch.empty(2, 3, device="meta"), "float32", (2, 3)),
    "sparse": (lambda: torch.eye(3).to_sparse(), "float32", (3, 3)),
    "compressed": (lambda: torch.eye(3).to_sparse_csr(), "float32", (3, 3)),
}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("name", ODD)
def test_what_is_not_in_one_place(tmp_path: Path, name: str) -> None:
    """Tensors without bytes of their own are known by type and shape, and not taken for lost zeros."""
    make, dtype, shape = ODD[name]
    torch.save({"odd": make()}, tmp_path / "odd.pt")
    root = load(str(tmp_path / "odd.pt")).root
    assert isinstance(root, dict)
    odd = root["odd"]
    held = odd.args[0] if isinstance(odd, Thing) else odd
    assert isinstance(held, TensorRef)
    assert (held.dtype, held.shape, held.location) == (dtype, shape, None)
