"""How each generation names its state variables, and what a name says: the kind of slot and the variable it belongs to.

Names are only half of a language: `adam/m_hidden_kernel_momentum` cannot be taken apart without knowing that there is a
variable `m/hidden/kernel`. Parsing therefore always goes from the known variables forward, and what cannot be read that
way is answered with None rather than guessed.

The shapes of names, measured on files of every generation:

- Keras 1 to 2.2: `Variable_5:0`, `training/Adam/Variable_1:0`: nothing but a position.
- Keras 2.3: `training/Adam/m_0_1:0`: the slot and the variable's position.
- OptimizerV2: `Adam/hidden/kernel/m:0`, after `training/` (TensorFlow 1.15) or `cond_1/` (loss scaling).
- TensorFlow 2.11 to 2.15 and tf_keras: `Adam/m/hidden/kernel:0`; `m/hidden/kernel:0` in a LossScaleOptimizerV3.
- Keras 3: `adam/m_hidden_kernel_momentum`, in 3.0 without `adam/`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from ckptdoctor.optimizers.catalogue import LAYOUTS, SlotKind, layouts
from ckptdoctor.state import Generation, Role

_OUTPUT = re.compile(r":\d+$")
_UNIQUE = re.compile(r"_\d+$")
_SCOPE = re.compile(r"(training|cond|while|Cond|model|loss)(_\d+)?")

MOST_PARTS = 64
"""Names have few parts; hostile ones must not cost the square of their length."""

_COUNTS = frozenset({"iter", "iteration", "iterations"})
_SCALARS = frozenset({
    "learning_rate", "momentum_cache", "m_schedule", "u_product", "decay", "beta_1", "beta_2", "rho", "momentum",
    "step_counter", "dynamic_scale", "current_loss_scale", "good_steps",
})  # fmt: skip


class SlotName(NamedTuple):
    """What a name says.

    Attributes:
        slot: The artifact's own name for the kind.
        variable: The variable's path, or the name that the state variable itself carries where none is known by it.
        known: Whether `variable` is one of the known paths.
        optimizer: Name of the optimizer, where the name has one.
    """

    slot: str
    variable: str
    known: bool
    optimizer: str = ""


def plain(name: str) -> str:
    """A TensorFlow name without its output number: `hidden/kernel:0` is `hidden/kernel`."""
    return _OUTPUT.sub("", name)


def scalar_name(name: str) -> str | None:
    """The name of a scalar that belongs to the whole optimizer: `iteration`, `learning_rate`; None for others."""
    last = plain(name).rpartition("/")[2]
    for candidate in (last, _UNIQUE.sub("", last)):
        if candidate in _COUNTS:
            return "iteration"
        if candidate in _SCALARS:
            return candidate
    return None


def optimizer_name(name: str) -> str:
    """The optimizer's own name at the front of a state variable's name; "" where it has none."""
    parts = plain(name).split("/")
    while len(parts) > 1 and _SCOPE.fullmatch(parts[0]):
        parts.pop(0)
    return parts[0] if len(parts) > 1 else ""


def generation_of(names: Iterable[str]) -> Generation | None:
    """The generation that names its count so: `iter:0`, `iteration:0`, `adam/iteration`, `Adam/iterations:0`."""
    for name in names:
        last = _UNIQUE.sub("", plain(name).rpartition("/")[2])
        if last not in _COUNTS:
            continue
        if last == "iterations":
            return Generation.KERAS1
        if last == "iter":
            return Generation.OPTIMIZER_V2
        return Generation.KERAS2 if name != plain(name) else Generation.KERAS3
    return None


def role_of(slot: str, generation: Generation | None, class_name: str | None = None) -> Role:
    """The role of a slot by its name: the class's own entry of the catalogue first, then any of the generation."""
    own = layouts(class_name or "", generation) if generation is not None else ()
    wanted = _UNIQUE.sub("", slot)
    for layout in (*own, *(each for each in LAYOUTS if each.generation is generation)):
        for kind in layout.kinds:
            if kind.name == wanted:
                return kind.role
    return {"average": Role.MOVING_AVERAGE, "gradient_accumulator": Role.GRADIENT_ACCUMULATOR}.get(wanted, Role.OTHER)


def same_kind(slot: str, kind: SlotKind) -> bool:
    """Whether a name is a kind's, perhaps made unique by TensorFlow (`m_1`)."""
    return slot == kind.name or _UNIQUE.sub("", slot) == kind.name


class Names:
    """The variables of a model by every name they go by, to read the names of their slots."""

    def __init__(self, variables: Mapping[str, Sequence[str]]) -> None:
        """Collects the names.

        Args:
            variables: Path of each variable, to all its names (itself, full names, aliases), any with `:0`.
        """
        self._paths: dict[str, str] = {}
        ambiguous: set[str] = set()
        for path, names in variables.items():
            for name in {plain(each) for each in (path, *names)}:
                if self._paths.setdefault(name, path) != path:
                    ambiguous.add(name)
        for name in ambiguous:
            if name not in variables:
                del self._paths[name]

    @cached_property
    def _joined(self) -> dict[str, str]:
        """Names as Keras 3 joins them, the longest first: suffixes of them must not win over themselves."""
        joined: dict[str, str] = {}
        clash: set[str] = set()
        for name, path in self._paths.items():
            key = name.replace("/", "_")
            if joined.setdefault(key, path) != path:
                clash.add(key)
        return {key: path for key, path in joined.items() if key not in clash}

    def parse(self, name: str, generation: Generation | None) -> SlotName | None:
        """What the name of a state variable says; None if it is no slot's or cannot be read."""
        if generation is Generation.OPTIMIZER_V2:
            return self._slot_last(name)
        if generation is Generation.KERAS2:
            return self._slot_first(name)
        if generation is Generation.KERAS3:
            return self._joined_name(name)
        return None

    def _slot_last(self, name: str) -> SlotName | None:
        """OptimizerV2: `<scope>/<optimizer>/<variable>/<slot>`."""
        *front, slot = plain(name).split("/")
        for start in range(max(0, len(front) - MOST_PARTS), len(front)):
            path = self._paths.get("/".join(front[start:]))
            if path is not None:
                return SlotName(slot, path, known=True, optimizer=front[start - 1] if start else "")
        optimizer = optimizer_name(name)
        rest = "/".join(front)
        _, found, variable = rest.partition(f"{optimizer}/")
        return SlotName(slot, variable, known=False, optimizer=optimizer) if found and variable else None

    def _slot_first(self, name: str) -> SlotName | None:
        """TensorFlow 2.11 and later: `<optimizer>/<slot>/<variable>`, or `<slot>/<variable>`."""
        parts = plain(name).split("/")
        kinds = _kind_names(Generation.KERAS2)
        ends = range(max(0, len(parts) - MOST_PARTS), len(parts) - 1)
        known = [at for at in ends if "/".join(parts[at + 1 :]) in self._paths]
        # A model that has both `hidden/kernel` and `m/hidden/kernel` leaves two ways to read `Adam/m/hidden/kernel`.
        for at in sorted(known, key=lambda at: _UNIQUE.sub("", parts[at]) not in kinds):
            path = self._paths["/".join(parts[at + 1 :])]
            return SlotName(parts[at], path, known=True, optimizer="/".join(parts[:at]))
        for at in range(min(2, len(parts) - 1)):
            if _UNIQUE.sub("", parts[at]) in kinds:
                return SlotName(parts[at], "/".join(parts[at + 1 :]), known=False, optimizer="/".join(parts[:at]))
        return None

    def _joined_name(self, name: str) -> SlotName | None:
        """Keras 3: `<optimizer>/<variable with _ for />_<slot>`; the variable's name may lack its first parts."""
        optimizer, _, joined = plain(name).rpartition("/")
        if scalar_name(joined) == joined:
            return None
        cuts = [at for at, letter in enumerate(joined) if letter == "_" and at + 1 < len(joined)]
        for end in reversed(cuts):  # the variable named in full; the longest of them
            path = self._joined.get(joined[:end])
            if path is not None:
                return SlotName(joined[end + 1 :], path, known=True, optimizer=optimizer)
        for end in reversed(cuts[-MOST_PARTS:]):  # by the tail of its name, where the model does not know the front
            for start in cuts[:MOST_PARTS]:
                path = self._joined.get(joined[start + 1 : end])
                if path is not None:
                    return SlotName(joined[end + 1 :], path, known=True, optimizer=optimizer)
        for slot in sorted(_kind_names(Generation.KERAS3), key=len, reverse=True):
            if joined.endswith(f"_{slot}"):
                return SlotName(slot, joined[: -len(slot) - 1], known=False, optimizer=optimizer)
        return None


def _kind_names(generation: Generation) -> frozenset[str]:
    known = {kind.name for each in LAYOUTS if each.generation is generation for kind in each.kinds}
    return frozenset(known | {"average", "gradient_accumulator"})
