"""What the user asks of a comparison."""

from collections.abc import Mapping
from math import isfinite
from typing import NamedTuple, TypedDict

from ckptdoctor.errors import UsageProblem


class DiffOptions(TypedDict, total=False):
    """The options of `ckptdoctor.diff`, all of them optional.

    Attributes:
        values: Read the data of every slot and compare it; otherwise names, shapes and single numbers are compared.
        weights: Compare the model's weights too, all of them, and count a difference.
        rtol: By how much values may differ, relative to the greater of the two: |a - b| <= atol + rtol max(|a|, |b|).
        atol: By how much they may differ, absolutely. With both 0 they have to be equal.
        optimizer: Which optimizer, where an artifact has several: its name, or a part of it.
        mapping: Variable of A → variable of B; whole paths, or prefixes that end in `/`.
    """

    values: bool
    weights: bool
    rtol: float
    atol: float
    optimizer: str | None
    mapping: Mapping[str, str]


class Options(NamedTuple):
    """A request: `DiffOptions` with its defaults."""

    values: bool = False
    weights: bool = False
    rtol: float = 0.0
    atol: float = 0.0
    optimizer: str | None = None
    mapping: Mapping[str, str] = {}


def make_options(given: DiffOptions) -> Options:
    """Options from keywords.

    Raises:
        UsageProblem: One is not known, or its value makes no sense.
    """
    unknown = sorted(set(given) - set(Options._fields))
    if unknown:
        raise UsageProblem(f"unknown option {unknown[0]!r}; there are {', '.join(Options._fields)}")
    options = Options(**given)
    for name, value in (("rtol", options.rtol), ("atol", options.atol)):
        if not (isfinite(value) and value >= 0):
            raise UsageProblem(f"{name} is a number from 0 on, not {value}")
    if (options.rtol or options.atol) and not (options.values or options.weights):
        raise UsageProblem("rtol and atol are tolerances for values: ask for values or weights too")
    return options
