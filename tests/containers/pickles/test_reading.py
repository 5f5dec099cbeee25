"""The pickle reader: equal to `pickle.load` on what it reads, and deaf to everything else."""

from __future__ import annotations

import collections
import contextlib
import functools
import io
import math
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import tracemalloc
import types
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ckptdoctor.containers.pickles.reading import Node, load
from ckptdoctor.containers.tensors.values import chunks
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import Coded, FileRange, Inline, TensorRef

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def array(ref: TensorRef) -> np.ndarray[Any, Any]:
    """The array that a reference stands for, in its shape."""
    pieces = list(chunks(ref))
    flat: np.ndarray[Any, Any] = np.concatenate(pieces) if pieces else np.zeros(0, "V1")
    column_major = isinstance(ref.location, (FileRange, Coded)) and ref.location.fortran_order
    return flat.reshape(ref.shape, order="F" if column_major else "C")


def same(got: object, want: object) -> bool:
    """Whether a structure read by us is what pickle made, arrays by their values."""
    if isinstance(got, TensorRef):
        held = array(got)
        assert isinstance(want, (np.ndarray, np.generic))
        assert got.dtype == want.dtype.newbyteorder("<").name
        return got.shape == want.shape and held.tobytes() == np.asarray(want).astype(held.dtype).tobytes()
    if isinstance(want, dict):
        return isinstance(got, dict) and list(got) == list(want) and all(same(got[key], want[key]) for key in want)
    if isinstance(want, (list, tuple)):
        return type(got) is type(want) and len(got) == len(want) and all(map(same, got, want))
    if isinstance(want, (set, frozenset)):
        return got == frozenset(want)
    if isinstance(want, float) and math.isnan(want):
        return isinstance(got, float) and math.isnan(got)
    return type(got) is (bytes if isinstance(want, bytearray) else type(want)) and got == want


def read(folder: Path, data: bytes) -> Node:
    """What the reader makes of these bytes."""
    path = folder / "dump.pkl"
    path.write_bytes(data)
    return load(str(path))[0]


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=20)
    | st.complex_numbers(allow_nan=False)
)
dtypes = st.sampled_from([
    "<f4", ">f4", "<f8", ">f8", "<f2", "<i8", ">i8", "<i4", "|u1", "|b1", "<c8", ">c16",
])  # fmt: skip
arrays = dtypes.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5))
)
columns = arrays.map(np.asfortranarray)
numbers = dtypes.map(lambda dtype: np.dtype(dtype).type(3))
structures = st.recursive(
    scalars | arrays | columns | numbers,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=8) | st.integers(-9, 9), inner, max_size=4)
    ),
    max_leaves=12,
)


@SLOW
@given(value=structures, protocol=st.sampled_from(list(PROTOCOLS)))
def test_reads_what_pickle_wrote(tmp_path: Path, value: object, protocol: int) -> None:
    """Any nesting of plain data and arrays comes back equal, in every protocol."""
    assert same(read(tmp_path, pickle.dumps(value, protocol)), value)


@SLOW
@given(value=structures)
def test_reads_optimized_pickles(tmp_path: Path, value: object) -> None:
    """A pickle without its unused memo entries is the same pickle."""
    assert same(read(tmp_path, pickletools.optimize(pickle.dumps(value))), value)


@SLOW
@given(data=st.binary(max_size=200))
def test_garbage_is_refused(tmp_path: Path, data: bytes) -> None:
    """Arbitrary bytes are read or refused, with no other exception than ours."""
    with contextlib.suppress(UnreadableArtifact):
        read(tmp_path, data)


@SLOW
@given(value=structures, protocol=st.sampled_from(list(PROTOCOLS)), data=st.data())
def test_damage_is_survived(tmp_path: Path, value: object, protocol: int, data: st.DataObject) -> None:
    """A changed byte leads to another reading or to a refusal, never to another exception."""
    pickled = bytearray(pickle.dumps(value, protocol))
    pickled[data.draw(st.integers(0, len(pickled) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UnreadableArtifact):
        read(tmp_path, bytes(pickled))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_truncation_is_refused(tmp_path: Path, protocol: int) -> None:
    """No beginning of a pickle passes for a pickle."""
    data = pickle.dumps([np.int64(7), np.arange(6, dtype="f4").reshape(2, 3), {"a": (1, 2.5)}], protocol)
    for length in range(len(data)):
        with pytest.raises(UnreadableArtifact):
            read(tmp_path, data[:length])


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_reads_the_types_of_ml_dtypes(tmp_path: Path, protocol: int, dtype: str) -> None:
    """Element types that numpy lacks are named, not imported."""
    values = np.array([1.5, -2, 0], getattr(ml_dtypes, dtype))
    got = read(tmp_path, pickle.dumps([values, values[0]], protocol))
    assert isinstance(got, list)
    assert [each.dtype for each in got if isinstance(each, TensorRef)] == [dtype, dtype]
    assert same(got, [values, values[0]])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_reads_containers_of_the_standard_library(tmp_path: Path, protocol: int) -> None:
    """Ordered and default dicts are dicts; sets and byte arrays are what they hold."""
    value = {
        "ordered": collections.OrderedDict([("a", 1), ("b", 2)]),
        "default": collections.defaultdict(list, {"loss": [0.5]}),
        "set": {1, 2},
        "frozen": frozenset("ab"),
        "bytes": bytearray(b"\xff\0"),
        "none": bytearray(),
        "empty": b"",
    }
    assert same(read(tmp_path, pickle.dumps(value, protocol)), value)


def test_reads_arrays_of_objects_as_lists(tmp_path: Path) -> None:
    """`np.array(weights, dtype=object)` is a list of what it holds."""
    value = np.empty(3, object)
    value[:] = [np.int64(7), np.ones((2, 2)), "x"]
    assert same(read(tmp_path, pickle.dumps(value)), list(value))


def test_keys_are_paths_in_the_structure(tmp_path: Path) -> None:
    """A tensor is called by what leads to it, as Python would write it."""
    got = read(tmp_path, pickle.dumps({"opt": [np.int64(1), (np.ones(2),)]}))
    assert isinstance(got, dict)
    inner = got["opt"]
    assert isinstance(inner, list)
    assert isinstance(inner[1], tuple)
    assert [each.key for each in (inner[0], inner[1][0]) if isinstance(each, TensorRef)] == [
        "['opt'][0]",
        "['opt'][1][0]",
    ]


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_arrays_stay_in_the_file(tmp_path: Path, protocol: int) -> None:
    """Arrays are places in the file, and numpy scalars carry their value."""
    got = read(tmp_path, pickle.dumps([np.float32(0.5), np.arange(5.0)], protocol))
    assert isinstance(got, list)
    number, values = got
    assert isinstance(number, TensorRef)
    assert number.location == Inline(struct.pack("<f", 0.5))
    assert isinstance(values, TensorRef)
    assert isinstance(values.location, FileRange)
    data = (tmp_path / "dump.pkl").read_bytes()
    assert data[values.location.offset :][: values.location.nbytes] == np.arange(5.0).tobytes()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_memory_does_not_grow_with_the_arrays(tmp_path: Path, protocol: int) -> None:
    """32 MB of arrays are located with a few hundred kilobytes of memory, in every protocol."""
    path = tmp_path / "large.pkl"
    path.write_bytes(pickle.dumps([np.random.default_rng(0).random((1024, 1024)) for _ in range(4)], protocol))
    tracemalloc.start()
    try:
        load(str(path))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 500_000


def test_python_2_pickles(tmp_path: Path) -> None:
    """Pickles of Python 2 hold array data as `str`, quoted in protocol 0 and raw in protocol 2."""
    data = np.array([1.5, -2, 3e9], "<f4").tobytes()
    head = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(L3L\ntcnumpy\ndtype\n"
    state = b"(S'f4'\nI0\nI1\ntR(I3\nS'<'\nNNNI-1\nI-1\nI0\ntbI00\n"
    quoted = b"S" + repr(data)[1:].encode() + b"\n"
    raw = b"U" + bytes([len(data)]) + data
    for string in (quoted, raw):
        got = read(tmp_path, head + state + string + b"tb.")
        assert isinstance(got, TensorRef)
        assert array(got).tolist() == [1.5, -2, 3e9]


def test_several_pickles_in_one_file(tmp_path: Path) -> None:
    """What repeated `pickle.dump` calls wrote is read in turn, each with keys of its own."""
    buffer = io.BytesIO()
    for value in ([np.ones(2)], {"epoch": 3}):
        pickle.dump(value, buffer)
    path = tmp_path / "two.pkl"
    path.write_bytes(buffer.getvalue())
    first, second = load(str(path))
    assert same(first, [np.ones(2)])
    assert second == {"epoch": 3}


def test_tensors_of_tensorflow_and_jax_are_arrays(tmp_path: Path) -> None:
    """Pickled EagerTensors and jax arrays are the arrays that they wrap; neither framework is needed."""
    plain = pickle.dumps(np.arange(3.0), 2)[2:-1]
    tensor = b"\x80\x02ctensorflow.python.framework.ops\nconvert_to_tensor\n" + plain + b"\x85R."
    assert same(read(tmp_path, tensor), np.arange(3.0))
    reduced: Any = np.arange(3.0).__reduce__()
    function, args, state = reduced
    call = pickle.dumps((function, args, state, {"weak_type": False}), 4)[2:-1]
    frameless = call[9:] if call[:1] == b"\x95" else call
    assert same(read(tmp_path, b"\x80\x04cjax._src.array\n_reconstruct_array\n" + frameless + b"R."), np.arange(3.0))


def test_reading_imports_neither_numpy_nor_pickle(tmp_path: Path) -> None:
    """Structure is read with the standard library alone."""
    path = tmp_path / "dump.pkl"
    path.write_bytes(pickle.dumps([np.int64(7), np.ones(3)]))
    code = (
        "import sys; from ckptdoctor.containers.pickles.reading import load; "
        f"load({str(path)!r}); print(sorted({{'numpy', 'pickle', 'ml_dtypes'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_framework_variables_stand_for_their_values(
    protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pickled TensorFlow variable is read as the array in it; nothing of TensorFlow is called."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    name = "tensorflow.python.ops.resource_variable_ops"

    class ResourceVariable:
        """As ResourceVariable.__reduce__ (TensorFlow 2.21) pickles itself."""

        def __init__(self, **_: object) -> None:
            """Takes what the real one takes."""

        def __reduce__(self) -> tuple[object, ...]:
            return functools.partial(ResourceVariable, initial_value=array, name="kernel"), ()

    ResourceVariable.__module__, ResourceVariable.__qualname__ = name, "ResourceVariable"
    module = types.ModuleType(name)
    module.ResourceVariable = ResourceVariable  # type: ignore[attr-defined]
    for parent in ("tensorflow", "tensorflow.python", "tensorflow.python.ops"):
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    monkeypatch.setitem(sys.modules, name, module)
    path = tmp_path / "variable.pkl"
    path.write_bytes(pickle.dumps([ResourceVariable()], protocol=protocol))
    (node,) = load(str(path))
    assert isinstance(node, list)
    (ref,) = node
    assert isinstance(ref, TensorRef)
    assert ref.shape == (2, 3)
    assert np.array_equal(np.concatenate(list(chunks(ref))).reshape(2, 3), array)


def test_a_partial_of_anything_else_is_refused(tmp_path: Path) -> None:
    """functools.partial is understood around a TensorFlow variable's class and nothing else."""
    path = tmp_path / "partial.pkl"
    path.write_bytes(pickle.dumps(functools.partial(os.system, "true")))
    with pytest.raises(UnreadableArtifact):
        load(str(path))
