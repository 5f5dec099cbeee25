"""Every generation has one record, and nobody outside the rooms that know optimizers names one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ckptdoctor
from ckptdoctor.optimizers.catalogue import HEADS, PerVariable, classes
from ckptdoctor.optimizers.dialects import DIALECTS, dialect, of_keras, of_tensorflow
from ckptdoctor.optimizers.keras.defaults import DEFAULTS
from ckptdoctor.optimizers.translation import SINGLES, Numbers
from ckptdoctor.state import Generation

PACKAGE = Path(ckptdoctor.__file__).parent
AT_HOME = tuple(PACKAGE / each for each in ("formats", "optimizers", "crossing", "kinds.py", "state.py"))
"""`crossing` says one framework's state in the words of another: which these are is what it is about."""


def test_nobody_else_names_a_generation() -> None:
    """Outside formats and optimizers, records are asked: a new dialect is a record and its tables."""
    others = [each for each in PACKAGE.rglob("*.py") if not any(each.is_relative_to(home) for home in AT_HOME)]
    assert len(others) > 100
    found = [
        f"{path.relative_to(PACKAGE)}: Generation.{node.attr}"
        for path in others
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Generation"
    ]
    assert found == []


def test_one_record_a_generation() -> None:
    """Each has one, with names of its own; what nothing tells the generation of promises nothing."""
    assert set(DIALECTS) == set(Generation) == set(HEADS)
    assert len({each.title for each in DIALECTS.values()}) == len({each.short for each in DIALECTS.values()}) == 7
    assert all(each.title and each.short and each.package for each in DIALECTS.values())
    assert dialect(None).package == ""


OF_OTHERS = {each for each, found in DIALECTS.items() if found.by_parameter or found.chained}
"""Optimizers of PyTorch and JAX: their state is no list, and their settings are stored beside it."""


def test_others_than_kerases_have_none_of_its_ways() -> None:
    """No defaults, heads or wrappers of Keras, and nothing that a list of its variables would need."""
    assert {Generation.TORCH, Generation.OPTAX} == OF_OTHERS
    for each in OF_OTHERS:
        found = dialect(each)
        assert not HEADS[each]
        assert each not in DEFAULTS
        ways = (found.by_graph, found.listed, found.accumulates, found.wrapper, found.counts_with_decay)
        assert not any(ways)


@pytest.mark.parametrize("generation", [each for each in Generation if each not in OF_OTHERS])
def test_records_agree_with_the_tables(generation: Generation) -> None:
    """What a record says of classes and settings is so in the catalogue and in the configurations."""
    found = dialect(generation)
    settings = DEFAULTS.get(generation, {})
    assert found.by_graph == (generation not in DEFAULTS)
    assert {*found.counts_with_decay, *(found.always_momentum if settings else ())} <= set(classes(generation))
    head = {kind.name for block in HEADS[generation] if isinstance(block, PerVariable) for kind in block.kinds}
    assert found.accumulates == ("gradient_accumulator" in head)
    if "Nadam" in settings:
        assert bool(found.nadam_decay) == (found.nadam == "slow")
        assert not found.nadam_decay or found.nadam_decay in settings["Nadam"]
        # By its own formula, the product falls faster where the schedule is the fast one.
        products = [SINGLES["u_product"](Numbers(iterations=9), each) for each in (generation, Generation.KERAS1)]
        assert (products[0] > products[1] * 1.01) == (found.nadam == "fast")
    if settings and found.one_over_t:
        assert "decay" in settings["SGD"]


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        (None, None),
        ("1.2.2", Generation.KERAS1),
        ("2.3.1", Generation.KERAS1),
        ("2.2.4-tf", Generation.OPTIMIZER_V2),
        ("2.10.0", Generation.OPTIMIZER_V2),
        ("2.11.0", Generation.KERAS2),
        ("2.16.0", Generation.KERAS2),
        ("3.0.5", Generation.KERAS3),
    ],
)
def test_what_a_keras_saves(version: str | None, expected: Generation | None) -> None:
    """By `keras_version`, whose 2.3 and earlier may be either package's."""
    assert of_keras(version) is expected


def test_what_a_tensorflow_compiles() -> None:
    """By TensorFlow's own version, whose 2.3 has OptimizerV2."""
    assert of_tensorflow("") is None
    assert [of_tensorflow(each) for each in ("1.15.0", "2.3.0", "2.11.0")] == [
        Generation.OPTIMIZER_V2, Generation.OPTIMIZER_V2, Generation.KERAS2,
    ]  # fmt: skip
