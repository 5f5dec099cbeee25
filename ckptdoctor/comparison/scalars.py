"""Optimizer state that belongs to no variable, compared: Nadam's product, TensorFlow 1's beta powers, any other scalar.

Some generations store what others compute from the count and the hyperparameters (`optimizers.translation.SINGLES`):
a scalar that says nothing more than those is no difference.
"""

import re
from collections.abc import Iterator
from math import isclose, isnan
from typing import NamedTuple

from ckptdoctor.comparison.results import Item, Layer, Outcome, Said
from ckptdoctor.comparison.values import Tolerance
from ckptdoctor.optimizers import translation
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.inference import settings_kept
from ckptdoctor.optimizers.numbers import finite
from ckptdoctor.state import OptimizerState

_NUMBER = re.compile(r"_\d+$")
_COUNTS = frozenset({"iter", "iteration", "iterations"})
_PRODUCT = "momentum product"
_SCALARS = {"u_product": _PRODUCT, "momentum_cache": _PRODUCT, "m_schedule": _PRODUCT}
"""One quantity under the names that generations give it (`translation.nadam_product`)."""
_BETAS = {"beta1_power": "beta_1", "beta2_power": "beta_2"}
_ACCUMULATED = 1e-3
"""The relative error of a product in float32 over as many steps as it takes until it is 0."""
_VANISHED = 1e-30


class _Held(NamedTuple):
    """A scalar, the optimizer that holds it, and which side that is."""

    value: float
    optimizer: OptimizerState
    other: OptimizerState
    side: str

    @property
    def said(self) -> Said:
        """As an item says it."""
        return (self.value, None) if self.side == "A" else (None, self.value)

    @property
    def lacking(self) -> str:
        """The side that holds none."""
        return "B" if self.side == "A" else "A"


def compare_scalars(a: OptimizerState, b: OptimizerState, tolerance: Tolerance) -> Iterator[Item]:
    """Every scalar that either side keeps, but hyperparameters and the count."""
    ours = {name: _Held(value, a, b, "A") for name, value in _kept(a).items()}
    theirs = {name: _Held(value, b, a, "B") for name, value in _kept(b).items()}
    for name in dict.fromkeys([*ours, *theirs]):
        one, other = ours.get(name), theirs.get(name)
        if one is not None and other is not None:
            yield _of_both(name, one, other, tolerance)
        else:
            yield _of_one(name, one or theirs[name])


def _kept(optimizer: OptimizerState) -> dict[str, float]:
    """Scalars that are state: not hyperparameters in variables, nor the count."""
    settings = settings_kept(optimizer.class_name, optimizer.generation)
    found: dict[str, float] = {}
    for other in optimizer.other:
        plain = other.name.lstrip("_")
        if dialect(optimizer.generation).by_graph:
            # TensorFlow 1 puts name scopes before it, and numbers behind it where a graph has several optimizers.
            plain = _NUMBER.sub("", plain.rpartition("/")[2])
        scheduled = plain == "learning_rate" and optimizer.schedule is not None
        if settings.get(plain, plain) in optimizer.hyperparameters or plain in _COUNTS or scheduled:
            continue
        if isinstance(other.value, (int, float)) and not isinstance(other.value, bool):
            found.setdefault(_SCALARS.get(plain, plain), float(other.value))
    return found


def _of_both(name: str, one: _Held, other: _Held, tolerance: Tolerance) -> Item:
    mine, theirs = one.value, other.value
    bound = tolerance.atol + tolerance.rtol * max(abs(mine), abs(theirs))
    if mine == theirs or (isnan(mine) and isnan(theirs)) or abs(mine - theirs) <= bound:
        return Item(Layer.SCALAR, name, (mine, theirs), Outcome.EQUAL)
    generations = one.optimizer.generation, other.optimizer.generation
    if name == _PRODUCT and generations[0] is not generations[1] and _follows(one) and _follows(other):
        detail = "each follows from the count by its generation's formula"
        return Item(Layer.SCALAR, name, (mine, theirs), Outcome.EQUAL, detail)
    return Item(Layer.SCALAR, name, (mine, theirs), Outcome.DIFFERENT)


def _of_one(name: str, held: _Held) -> Item:
    """A scalar that the other side has no place for, as long as it says nothing that the count does not."""
    if name in _BETAS:
        return _power(name, held)
    if name == _PRODUCT and held.other.iterations == held.optimizer.iterations and _follows(held):
        return Item(
            Layer.SCALAR, name, held.said, Outcome.EQUAL, f"it follows from the count, which {held.lacking} has"
        )
    return Item(Layer.SCALAR, name, held.said, Outcome.ONLY_A if held.side == "A" else Outcome.ONLY_B)


def _power(name: str, held: _Held) -> Item:
    """TensorFlow 1's beta power, which elsewhere is a hyperparameter and the count."""
    count = held.optimizer.iterations if held.optimizer.iterations is not None else held.other.iterations
    implied = translation.implied_beta(held.value, count) if count is not None else None
    if implied is None:
        detail = "it has vanished: it tells nothing any more"
        return Item(Layer.SCALAR, name, held.said, Outcome.NOT_COMPARED, detail)
    said = f"it says that {_BETAS[name]} is {implied:.4g}"
    theirs = finite(held.other.hyperparameters.get(_BETAS[name]))
    if theirs is None:
        return Item(
            Layer.SCALAR, name, held.said, Outcome.NOT_COMPARED, f"{said}, which {held.lacking} does not record"
        )
    same = translation.same_beta(implied, theirs)
    detail = f"{said}, as {held.lacking} does" if same else f"{said}, {held.lacking}'s is {theirs:.4g}"
    return Item(Layer.SCALAR, name, held.said, Outcome.EQUAL if same else Outcome.DIFFERENT, detail)


def _follows(held: _Held) -> bool:
    """Whether Nadam's product is the one that its count gives."""
    optimizer = held.optimizer
    if optimizer.iterations is None or optimizer.generation is None:
        return False
    hyperparameters = dict(optimizer.hyperparameters)
    name = dialect(optimizer.generation).nadam_decay
    if name in hyperparameters:
        hyperparameters["schedule_decay"] = hyperparameters[name]
    numbers = translation.numbers_of(optimizer.iterations, hyperparameters, scheduled=False)
    try:
        expected = translation.nadam_product(numbers, optimizer.generation)
    except ArithmeticError:  # a configuration that makes no sense
        return False
    return isclose(held.value, expected, rel_tol=_ACCUMULATED) or max(abs(held.value), abs(expected)) < _VANISHED
