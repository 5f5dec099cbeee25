"""The fast path of pickles against the exact machine: the same from everything that torch writes, and never more."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.pickles.machine import Machine
from ckptdoctor.containers.pickles.reading import Node
from ckptdoctor.containers.torchfiles import fast as fast_path
from ckptdoctor.containers.torchfiles.archive import MAX_STEPS
from ckptdoctor.containers.torchfiles.fast import Unusual, fast_load
from ckptdoctor.containers.torchfiles.imports import Name, Storage, TorchImports
from ckptdoctor.containers.torchfiles.tree import TorchTree
from ckptdoctor.errors import CkptDoctorError
from ckptdoctor.references import FileRange

WHERE = "data.pkl"


class Read(NamedTuple):
    """What a path made of a pickle."""

    root: Node
    names: tuple[Name, ...]
    called: tuple[Name, ...]
    arrays: tuple[str, ...]
    end: int


def _told(data: bytes, value: object, end: int, imports: TorchImports) -> Read:
    def stored(storage: Storage) -> FileRange:
        return FileRange(storage.key, 0, 1 << 40)

    root = TorchTree(Cursor(data, WHERE), stored).node(value, (None, ""))
    return Read(root, tuple(imports.names), tuple(imports.called), tuple(imports.arrays), end)


def fast(data: bytes) -> Read:
    """By the fast path: the same, whether tensors are taken whole or, as in small pickles, opcode by opcode."""
    found = []
    for few in (0, len(data)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fast_path, "FEW", few)
            imports = TorchImports()
            value, end = fast_load(data, 0, imports)
        found.append(_told(data, value, end, imports))
    assert _written(found[0]) == _written(found[1])
    return found[0]


def exact(data: bytes) -> Read:
    """By the machine."""
    imports, cursor = TorchImports(), Cursor(data, WHERE)
    value = Machine(cursor, imports, MAX_STEPS).run()
    return _told(data, value, cursor.position, imports)


def _pickles(museum: Path) -> Iterator[tuple[str, bytes]]:
    for record in json.loads((museum / "truth.json").read_text(encoding="utf-8")):
        path = museum / record["path"]
        if record["producer"]["flavor"] == "torch" and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if name.endswith(f"/{WHERE}"):
                        yield record["case"], archive.read(name)


def test_what_torch_wrote(museum: Path) -> None:
    """Every pickle of the museum comes out the same; only objects, and methods that old schedulers keep, are slow."""
    count, slow = 0, []
    for case, data in _pickles(museum):
        count += 1
        try:
            found = fast(data)
        except Unusual:
            slow.append(case)
            continue
        assert found == exact(data), case
    assert count > 100
    assert not [case for case in slow if not case.endswith(("whole", "-three")) and "cycl" not in case]


def test_what_torch_would_write(tmp_path: Path) -> None:
    """Any structure comes out the same, where the fast path takes it; and it takes most."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    from support.pytorch.structures import files

    taken: list[bool] = []

    @settings(max_examples=100, deadline=None)
    @given(files())
    def same(case: tuple[Any, bool]) -> None:
        path = tmp_path / "any.pt"
        torch.save(case[0], path)
        with zipfile.ZipFile(path) as archive:
            data = archive.read(f"any/{WHERE}")
        try:
            found = fast(data)
        except Unusual:
            taken.append(False)
            return
        taken.append(True)
        assert _written(found) == _written(exact(data))  # text, as NaN is no NaN

    same()
    assert sum(taken) * 2 > len(taken)


def _written(found: Read) -> str:
    return repr(found)


@pytest.fixture(scope="module", params=[2, 4, 5])
def usual(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The pickle of a model with its optimizer, in the protocols of torch.save and of its distributed checkpoints."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    path = tmp_path_factory.mktemp("usual") / "usual.pt"
    # Behind 256 numbers in the memo, where those are four bytes wide, tensors are taken whole.
    classes = [f"class {number}" for number in range(300)]
    state = {"classes": classes, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3}
    torch.save(state, path, pickle_protocol=request.param)
    with zipfile.ZipFile(path) as archive:
        return archive.read(f"usual/{WHERE}")


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_what_is_broken(usual: bytes, data: st.DataObject) -> None:
    """Of a changed pickle it makes what the machine makes, or leaves it to the machine; it is never the only one."""
    changed = bytearray(usual)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(usual.index(b"model"), len(usual) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = fast(bytes(changed))
    except (Unusual, CkptDoctorError):
        return
    assert _written(found) == _written(exact(bytes(changed)))


@pytest.mark.parametrize("size", [1, 15, 16, 17, 129, 255])
def test_long_numbers(size: int) -> None:
    """Whatever their size is, no byte of one is taken for an opcode."""
    pickled = b"\x80\x02}(X\x01\0\0\0aK\x01X\x01\0\0\0b\x8a" + bytes([size]) + b"u" * size + b"u."
    try:
        found = fast(pickled)
    except Unusual:
        assert size > 16
        return
    assert size <= 16
    assert _written(found) == _written(exact(pickled))


def test_what_is_cut(usual: bytes) -> None:
    """No beginning of a pickle is one."""
    for size in range(len(usual)):
        with pytest.raises(Unusual):
            fast_load(usual[:size], 0, TorchImports())


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps({1, 2}, 4),
        pickle.dumps(["x" * 5000], 2),
        b"\x80\x02(.",
        b"\x80\x02(q\0.",
        b"\x80\x02]h\x05.",
        b"\x80\x02}]K\x01s.",
        b"\x80\x02NN.",
        b"\x80\x02.",
        b"\x80\x02]" + b"]a" * 3 + b"\xff.",
    ],
    ids=["a set", "long text", "a mark", "a mark kept", "nothing kept", "a list as key", "two", "none", "unknown"],
)
def test_left_to_the_machine(data: bytes) -> None:
    """What torch does not write is read by the machine alone, or refused by it."""
    with pytest.raises((Unusual, CkptDoctorError)):
        fast(data)
