"""The slots of a plan: for each that the target's layout predicts, its source and what is done to the numbers."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.errors import GraftRefused
from ckptdoctor.grafting.planning.completeness import is_unused
from ckptdoctor.grafting.planning.powers import beta_powers, kind_of
from ckptdoctor.matching.sides import settings_of
from ckptdoctor.matching.variables import Match
from ckptdoctor.optimizers import inference, translation
from ckptdoctor.optimizers.catalogue import COPY, Extent, Layout, Single, SlotKind
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.keras.config import Settings
from ckptdoctor.optimizers.keras.defaults import defaults_of
from ckptdoctor.optimizers.lists.layout import Trained, blocks, expand
from ckptdoctor.optimizers.planned import PlannedSlot
from ckptdoctor.optimizers.starting import starting_value
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, OptimizerState, Role, Slot, quantity
from ckptdoctor.words import enumerate_some

_COPIED_BITS = {
    ("float16", "float32"), ("bfloat16", "float32"), ("float32", "float64"), ("float16", "float64"),
    ("bfloat16", "float64"), ("int32", "int64"),
}  # fmt: skip
"""Changes of type that lose nothing."""


class Sources(NamedTuple):
    """Where slots come from: the side, each target variable's name there, and the side's slots."""

    optimizer: OptimizerState
    slots: Mapping[tuple[str, Role | str], Slot]
    matches: Mapping[str, Match]


class SlotMaker:
    """Plans the slots of one optimizer.

    Attributes:
        unmatched: Slots that stay empty although the donor should have them, with the reason.
        whose: What messages call the side that slots come from.
    """

    def __init__(
        self, class_name: str, generation: Generation, layout: Layout, donor: OptimizerState, *, partial: bool
    ) -> None:
        self.class_name = class_name
        self.generation = generation
        self.layout = layout
        self.donor = donor
        self.partial = partial
        self.unmatched: list[tuple[str, str]] = []
        self.whose = "the donor"

    def slots(
        self,
        trained: Sequence[Trained],
        settings: Settings,
        sources: Sources,
        numbers: translation.Numbers,
        variables: Mapping[str, TensorRef],
        hyperparameters: Mapping[str, object],
    ) -> list[PlannedSlot]:
        """Every slot that the layout predicts, with its source.

        Args:
            trained: The target's variables, in its optimizer's order.
            settings: What the target's optimizer keeps.
            sources: Where slots come from.
            numbers: What translations need.
            variables: The target's variables.
            hyperparameters: In force in the result.

        Raises:
            GraftRefused: A slot is lacking or would be changed in an inexact way.
        """
        planned: list[PlannedSlot] = []
        lacking: list[str] = []
        for each in expand(self.layout, trained, settings):
            if not isinstance(each.kind, SlotKind) or each.variable is None:
                continue
            path = trained[each.variable].path
            found = sources.matches.get(path)
            what = quantity(each.kind.role, each.kind.name)
            slot = sources.slots.get((found.donor, what)) if found is not None else None
            if slot is not None and slot.tensor.shape != each.shape:
                slot = None if each.kind.extent is Extent.PLACEHOLDER or slot.tensor.shape == (1,) else slot
            if slot is None:
                if found is not None and not self._may_be_zero(each.kind, each.shape):
                    lacking.append(f"{each.kind.name} of {path}")
                planned.append(self._new(each.kind, path, each.shape, variables.get(path), hyperparameters))
                continue
            wanted = (variables[path].dtype if path in variables else "") or slot.tensor.dtype
            planned.append(self._from_slot(each.kind, path, each.shape, wanted, slot, found, sources, numbers))
        if lacking and not self.partial:
            raise GraftRefused(f"{self.whose} lacks {enumerate_some(lacking, 4)}; leave them empty by --partial")
        self.unmatched += [(each, f"not in {self.whose}") for each in lacking]
        return planned

    def _may_be_zero(self, kind: SlotKind, shape: tuple[int, ...]) -> bool:
        """State that an optimizer keeps without using it, and that is zero in every run."""
        unused_momentum = is_unused(self.class_name, donor_settings=settings_of(self.donor), role=kind.role)
        factored = kind.extent in {Extent.ROWS, Extent.COLUMNS} and shape == ()
        return unused_momentum or factored or kind.extent is Extent.PLACEHOLDER

    def _new(
        self,
        kind: SlotKind,
        path: str,
        shape: tuple[int, ...],
        variable: TensorRef | None,
        hyperparameters: Mapping[str, object],
    ) -> PlannedSlot:
        """A slot that nothing is known of: as an optimizer begins with it."""
        dtype = (variable.dtype if variable is not None else "") or "float32"
        defaults = defaults_of(self.class_name, self.generation) or {}
        start: float | TensorRef = starting_value(kind, hyperparameters, defaults)
        if variable is not None and variable.location is not None and kind.start == COPY:
            start = variable
        return PlannedSlot(kind, path, shape, dtype, None, start=start)

    def _from_slot(
        self,
        kind: SlotKind,
        path: str,
        shape: tuple[int, ...],
        wanted: str,
        slot: Slot,
        found: Match | None,
        sources: Sources,
        numbers: translation.Numbers,
    ) -> PlannedSlot:
        ref: TensorRef = slot.tensor
        if ref.shape != shape:
            raise GraftRefused(
                f"{slot.name} of {slot.variable} has shape {list(ref.shape)}, {path} needs {list(shape)}"
            )
        dtype = ref.dtype
        if dtype != wanted and kind.extent is Extent.VARIABLE:
            if (dtype, wanted) not in _COPIED_BITS:
                raise GraftRefused(
                    f"{slot.name} of {slot.variable} is {dtype}, {path} is {wanted}: that would lose digits"
                )
            dtype = wanted
        factor, formula = 1.0, ""
        origin = sources.optimizer.generation
        rule = translation.slot_rule(self.class_name, kind.role, origin, self.generation) if origin else None
        if rule is not None:
            try:
                factor, formula = rule.factor(numbers), rule.formula
            except translation.Untranslatable as error:
                raise GraftRefused(str(error)) from error
        how = found.how if found is not None else None
        return PlannedSlot(kind, path, shape, dtype, ref, factor, formula, slot.variable, how)

    def singles(self, numbers: translation.Numbers, own: OptimizerState | None) -> dict[str, float]:
        """Scalars of the target's layout: stored ones of the same generation, else what their formula gives."""
        told = dialect(self.generation)
        if told.by_graph:
            return beta_powers(self.class_name, self.donor, own, numbers)
        names = [block.name for block in blocks(self.layout) if isinstance(block, Single)]
        if self.class_name == "Nadam" and told.nadam == "fast":
            names = ["u_product"]  # an attribute of the object, where it is not one of its variables
        stored: dict[str, float] = {}
        for other in self.donor.other if self.donor.generation is self.generation else ():
            if isinstance(other.value, (int, float)):
                stored.setdefault(other.name.rpartition("/")[2].lstrip("_"), other.value)
        steps = self.donor.iterations
        found: dict[str, float] = {}
        for name in names:
            if name in stored and (steps is None or steps == numbers.iterations):
                found[name] = float(stored[name])
                continue
            if name not in translation.SINGLES:
                raise GraftRefused(f"{self.whose} does not hold {self.class_name}'s {name!r} of this count")
            try:
                found[name] = translation.SINGLES[name](numbers, self.generation)
            except translation.Untranslatable as error:
                raise GraftRefused(str(error)) from error
        return found


def other_betas(donor: OptimizerState, numbers: translation.Numbers) -> list[str]:
    """Warnings where TensorFlow 1's beta powers, beta^(t+1), are not those of the betas that the result will have.

    A warning is all that is sound: the betas are not written into the result, although power^(1/(t+1)) would give them
    to seven digits. There are three unknowns, two betas and t, and two powers. t is not stored: what stands for it is
    global_step, which counts what the training script increments it for, not the optimizer's steps. In GANs, after
    warm starts and with several optimizers the two differ, and then the derived betas are wrong while the usual ones
    are right. Which of both it is only the training code knows; where the result's betas explain the powers by another
    count, the warning says that instead.
    """
    steps = donor.iterations
    if steps is None:
        return []
    found: list[str] = []
    powers: dict[str, float] = {}
    for other in donor.other:
        name = kind_of(other.name)
        beta = {"beta1_power": numbers.beta_1, "beta2_power": numbers.beta_2}.get(name)
        if beta is None or not isinstance(other.value, float):
            continue
        was = translation.implied_beta(other.value, steps)
        if was is None:
            continue
        powers.setdefault(name, other.value)
        if not translation.same_beta(was, beta):
            argument = f"beta_{name[4]}"
            found.append(
                f"the donor ran with {argument} {was:.4g} ({other.name} {other.value:.4g} at iteration {steps}), the "
                f"result says {beta:g}: set {argument}={was:.4g} in the training code"
            )
    if found and len(powers) == 2:  # noqa: PLR2004 - both
        counted = inference.steps_from_beta_powers(
            powers["beta1_power"], powers["beta2_power"], [(numbers.beta_1, numbers.beta_2)]
        )
        if counted is not None:
            said = f"the donor's beta powers are those of {counted.value:,} steps of Adam, its counter says {steps:,}"
            return [f"{said}: if the counter is not the optimizer's, set the count with --iterations {counted.value}"]
    return found
