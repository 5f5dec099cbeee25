"""Our reader of TensorFlow's checkpoints against TensorFlow's own: the same names, types, shapes and bytes."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.bundles import Tensor, split, write_bundle, write_v1
from support.frameworks import CHILDREN, run
from support.objects import keras2, keras3, legacy, model, tf1, tracked, variables, write_objects

from ckptdoctor.containers.bundles.reading import read_bundle, read_strings
from ckptdoctor.containers.bundles.v1 import read_v1
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE, TENSORFLOW
from ckptdoctor.containers.tensors.values import chunks, kept_open, numpy_dtype
from ckptdoctor.formats.locate import locate
from ckptdoctor.formats.tensorflow.saved_model import variables_prefix
from ckptdoctor.references import FileRange, Pieces, TensorRef

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
]

Facts = dict[str, tuple[str, tuple[int, ...], str]]
"""Name → dtype, shape, digest."""

BUNDLES, V1_TABLES = 400, 200
"""Generated, the same in every run; `nightly` has more bundles."""
MANY_BUNDLES = 4_000

# Types whose elements TensorFlow's reader puts together from slices, whose bytes it swaps, and that V1 tables hold.
SLICEABLE = ("float32", "float64", "int32", "int64", "uint8", "int8", "int16", "bool", "bfloat16", "complex64")
SWAPPABLE = (*SLICEABLE, "float16", "uint16", "uint32", "uint64", "complex128")
IN_V1 = ("float32", "float64", "int32", "int64", "uint8", "int8", "int16", "bool", "complex64", "complex128")
SUB_BYTE = frozenset({"int4", "uint4", "int2", "uint2", "float4_e2m1fn"})
NUMBERS = tuple(name for name, size in TENSORFLOW.values() if size and not name.startswith("q"))


# ------------------------------------------------------------------------------------------------------- both readers


def _tensorflow(*arguments: str, text: str = "") -> list[Any]:
    """Answers the lines of JSON that TensorFlow prints in a process of its own."""
    return [json.loads(line) for line in run(CHILDREN / "tf_tensors.py", *arguments, given=text)]


def _facts(answer: Mapping[str, Sequence[Any]]) -> Facts:
    return {name: (dtype, tuple(shape), digest) for name, (dtype, shape, digest) in answer.items()}


def _by_us(tensors: Mapping[str, TensorRef]) -> Facts:
    with kept_open():
        return {name: (ref.dtype, ref.shape, _digest(ref)) for name, ref in tensors.items()}


def _digest(ref: TensorRef) -> str:
    if ref.dtype == "string" and isinstance(ref.location, FileRange):
        found = read_strings(ref)
        return hashlib.sha256(b"".join(len(each).to_bytes(8, "little") + each for each in found)).hexdigest()
    if isinstance(ref.location, Pieces):
        whole = np.zeros(ref.shape, numpy_dtype(ref.dtype))
        for piece in ref.location.parts:
            parts = list(chunks(TensorRef("", ref.dtype, piece.shape, piece.location)))
            place = tuple(slice(start, start + size) for start, size in zip(piece.start, piece.shape, strict=True))
            whole[place] = np.concatenate(parts).reshape(piece.shape) if parts else 0
        return hashlib.sha256(whole.tobytes()).hexdigest()
    digest = hashlib.sha256()
    for chunk in chunks(ref, 48):
        digest.update(chunk.tobytes())
    return digest.hexdigest()


def _differences(case: str, ours: Facts, theirs: Facts) -> list[str]:
    names = [name for name in {**theirs, **ours} if ours.get(name) != theirs.get(name)]
    return [f"{case}: {name!r} is {theirs.get(name)}, not {ours.get(name)}" for name in names]


def _assert_alike(cases: Mapping[str, Facts]) -> None:
    """Holds what we read of each prefix against what TensorFlow reads."""
    answers = _tensorflow("read", text=json.dumps(list(cases)))
    assert len(answers) == len(cases)
    different: list[str] = []
    for (prefix, ours), answer in zip(cases.items(), answers, strict=True):
        if isinstance(answer, str):
            different.append(f"{prefix}: TensorFlow does not read it: {answer}")
        else:
            different += _differences(prefix, ours, _facts(answer))
    assert not different, f"{len(different)} differences:\n" + "\n".join(different[:20])


# ------------------------------------------------------------------------------------------------------ (a) the museum


def test_museum(museum: Path, museum_truth: list[dict[str, Any]]) -> None:
    """Every TensorFlow checkpoint and SavedModel of the museum, from 1.4 to 2.21."""
    cases: dict[str, Facts] = {}
    for record in museum_truth:
        if record["format"] not in {"tf-checkpoint", "saved-model", "tf-checkpoint-v1"}:
            continue
        (target,) = locate(str(museum / record["path"]))
        assert target.reader == record["format"]
        if record["format"] == "tf-checkpoint-v1":
            v1 = read_v1(target.resolved)
            # TensorFlow wants a pattern where the files are numbered.
            cases[v1.prefix + "-?????-of-?????" * (v1.files != (v1.prefix,))] = _by_us(v1.tensors)
        else:
            prefix = variables_prefix(target.resolved) if target.reader == "saved-model" else target.resolved
            assert prefix is not None, record["case"]
            cases[prefix] = _by_us(read_bundle(prefix).tensors)
    assert len(cases) > 400
    _assert_alike(cases)


# ------------------------------------------------------------------------------------------------- (b) what we generate


class Case(NamedTuple):
    """A bundle to be written."""

    tensors: dict[str, Tensor]
    options: dict[str, Any]


_PARTS = st.sampled_from(
    [
        "a",
        "kernel",
        "layer_with_weights-0",
        "",
        ".ATTRIBUTES",
        "x" * 90,
        "ключ",
        "鍵",
        "\N{SNOWMAN}",
        "é",
        " ",
        "\x7f",
        "~",
    ]
)
_NAMES = st.one_of(
    st.lists(_PARTS, min_size=1, max_size=5).map("/".join),
    st.builds("{}/{}".format, st.just("a/long/prefix/that/many/names/share" * 3), st.integers(0, 300)),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
).filter(lambda name: name and not name.startswith("\0"))
_SHAPES = st.one_of(
    st.just(()),
    st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple),
    st.lists(st.integers(1, 2), min_size=4, max_size=8).map(tuple),
    st.sampled_from([(300,), (64, 65), (0,), (3, 0, 2)]),
)


def _numbers(dtype: str, shape: tuple[int, ...], seed: int, **more: Any) -> Tensor:
    data = random.Random(seed).randbytes(math.prod(shape) * ITEMSIZE[dtype])
    if dtype == "bool" or dtype in SUB_BYTE:
        # Other bytes are none of these types' values, and differ once numpy has touched them.
        data = bytes(byte & 1 for byte in data)
    return Tensor(dtype, shape, data, **more)


@st.composite
def _tensors(draw: st.DrawFn, dtypes: Sequence[str], num_shards: int, *, sliced: Sequence[str] = ()) -> Tensor:
    dtype = draw(st.sampled_from(dtypes))
    shard = draw(st.integers(0, num_shards - 1))
    if dtype == "string":
        values = draw(st.lists(st.binary(max_size=200), max_size=4))
        scalar = len(values) == 1 and draw(st.booleans())
        text_shape: tuple[int, ...] = () if scalar else (len(values),)
        return Tensor(dtype, text_shape, b"", tuple(values), shard)
    shape, seed = draw(_SHAPES), draw(st.integers(0, 2**32))
    if dtype not in sliced or not math.prod(shape) or not shape or not draw(st.booleans()):
        return _numbers(dtype, shape, seed, shard=shard)
    axis = draw(st.integers(0, len(shape) - 1))
    cuts = sorted(draw(st.sets(st.integers(1, shape[axis] - 1)))) if shape[axis] > 1 else []
    lengths = [end - start for start, end in zip([0, *cuts], [*cuts, shape[axis]], strict=True)]
    return _numbers(dtype, shape, seed, shard=shard, parts=split(shape, lengths, axis))


@st.composite
def _bundles(draw: st.DrawFn) -> Case:
    num_shards = draw(st.integers(1, 5))
    big_endian = draw(st.integers(0, 5)) == 0
    tensors = _tensors((*SWAPPABLE, "string") if big_endian else (*NUMBERS, "string"), num_shards, sliced=SLICEABLE)
    options = {
        "num_shards": num_shards,
        "big_endian": big_endian,
        "block_size": draw(st.sampled_from([32, 100, 1000, 4096, 262_144])),
        "restart_interval": draw(st.sampled_from([1, 2, 16, 100])),
        "compressed": draw(st.booleans()),
        "gap": draw(st.sampled_from([0, 0, 3])),
    }
    return Case(draw(st.dictionaries(_NAMES, tensors, min_size=1, max_size=12)), options)


@st.composite
def _v1_tables(draw: st.DrawFn) -> Case:
    tensors = _tensors(IN_V1, 1, sliced=SLICEABLE)
    names = _NAMES.filter(lambda name: "\0" not in name)
    options = {"block_size": draw(st.sampled_from([32, 1000, 262_144]))}
    return Case(draw(st.dictionaries(names, tensors, min_size=1, max_size=8)), options)


def _generate(strategy: st.SearchStrategy[Case], count: int) -> list[Case]:
    """As many cases as asked for, the same in every run."""
    cases: list[Case] = []

    @settings(
        max_examples=count,
        phases=[Phase.generate],
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(case: Case) -> None:
        cases.append(case)

    collect()
    return cases


@pytest.mark.parametrize("count", [BUNDLES, pytest.param(MANY_BUNDLES, marks=pytest.mark.nightly)])
def test_generated_bundles(tmp_path: Path, count: int) -> None:
    """Bundles of any names, types, shapes, shards, slices and layouts of the index."""
    cases: dict[str, Facts] = {}
    for number, case in enumerate(_generate(_bundles(), count)):
        prefix = write_bundle(tmp_path / str(number), case.tensors, **case.options)
        cases[prefix] = _by_us(read_bundle(prefix).tensors)
    assert len(cases) > count * 0.9
    _assert_alike(cases)


def test_generated_v1_tables(tmp_path: Path) -> None:
    """V1 tables of any names, types, shapes and slices."""
    cases: dict[str, Facts] = {}
    for number, case in enumerate(_generate(_v1_tables(), V1_TABLES)):
        path = write_v1(tmp_path / str(number), case.tensors, **case.options)
        cases[path] = _by_us(read_v1(path).tensors)
    assert len(cases) > V1_TABLES * 0.9
    _assert_alike(cases)


def test_object_graphs(tmp_path: Path) -> None:
    """The object-based checkpoints that the tests build are checkpoints to TensorFlow too."""
    cases: dict[str, Facts] = {}
    for build in (legacy, tf1, keras2, keras3):
        net = model()
        root = tracked(model=net, optimizer=build(variables(net)))
        prefix = write_objects(tmp_path / build.__name__, root, block_size=200, num_shards=2)
        cases[prefix] = _by_us(read_bundle(prefix).tensors)
    _assert_alike(cases)


# ------------------------------------------------------------------------------------------- (c) what TensorFlow writes


def test_written_by_tensorflow(tmp_path: Path) -> None:
    """Bundles by SaveV2 and MergeV2Checkpoints, slices in two shards among them, and a V1 table by Save."""
    (truth,) = _tensorflow("write", str(tmp_path))
    assert {Path(prefix).name for prefix in truth} == {"plain", "merged", "v1"}
    different: list[str] = []
    for prefix, wanted in truth.items():
        read = read_v1(prefix).tensors if prefix.endswith("v1") else read_bundle(prefix).tensors
        different += _differences(Path(prefix).name, _by_us(read), _facts(wanted))
    assert not different, "\n".join(different[:20])
    assert read_bundle(str(tmp_path / "merged")).num_shards > 1
