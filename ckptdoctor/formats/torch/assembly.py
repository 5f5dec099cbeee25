"""From what was found in the files of an artifact of PyTorch to its training state."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from ckptdoctor.formats.torch.contents import Contents, Model
from ckptdoctor.formats.torch.optimizer import draft, optimizer_state, setting
from ckptdoctor.formats.torch.pairing import pair, path_of
from ckptdoctor.formats.torch.parameters import is_open, strangers
from ckptdoctor.formats.torch.schedulers import companions, schedulers
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Format, ModelVariable, Oddity, Producer, TrainingState


def assemble(
    path: str, kind: Format, producer: Producer, found: Contents, oddities: Iterable[Oddity] = ()
) -> TrainingState:
    """The training state of an artifact.

    Args:
        path: The artifact.
        kind: Its format.
        producer: What wrote it.
        found: What its files hold.
        oddities: What was noticed in them.
    """
    models = [each for each in found.models if not each.averaged] or found.models
    averages = [each for each in found.models if each not in models]
    variables = [
        ModelVariable(path_of(each, name, models), ref, _trainable(each, name, ref))
        for each in models
        for name, ref in each.tensors.items()
    ]
    noticed = list(oddities)
    optimizers = []
    known = [ref.shape for each in models for ref in each.tensors.values()]
    by_path = {each.path: each.tensor.shape for each in variables}
    drafts = [draft(name, fields) for name, fields in found.optimizers.items()]
    for one, told in zip(drafts, pair(drafts, models), strict=True):
        if not models:  # an optimizer alone: its parameters are somewhere else
            variables += (
                ModelVariable(name, TensorRef("", "", min(place.shapes, default=()), None), trainable=True)
                for name, place in zip(told.names, one.shapes, strict=True)
                if name is not None
            )
        optimizers.append(optimizer_state(one, told))
        noticed += one.oddities
        misfits = strangers(one.shapes, known) if models and told.mapping != "name" else 0
        if misfits:
            who = one.name or "the optimizer"
            noticed.append(
                Oddity("S016", f"{misfits:,} parameters of {who} have state of shapes that no weight here has")
            )
        if is_open(told, by_path):
            who = one.name or "the optimizer"
            noticed.append(Oddity("S010", f"{who}: equal shapes leave open which parameter is which"))
    noticed += (
        Oddity(
            "S012", f"{each.label} holds averages of {len(each.tensors):,} weights", fix="averages" if models else ""
        )
        for each in averages
    )
    noticed += _dead_scales(found)
    return TrainingState(
        path=path,
        format=kind,
        producer=producer,
        variables=tuple(variables),
        optimizers=tuple(optimizers),
        schedulers=schedulers(found, optimizers),
        companions=companions(found),
        counters=found.counters,
        others=(*found.others, *(ref for each in averages for ref in each.tensors.values())),
        oddities=tuple(noticed),
        ordered=not any(each.sorted_names for each in models),
    )


_STATISTICS = ("running_mean", "running_var")


def _trainable(model: Model, name: str, ref: TensorRef) -> bool | None:
    """No for what has no gradient: whole numbers, and the statistics of a batch norm, which counts its batches."""
    module, _, last = name.rpartition(".")
    counter = f"{module}.num_batches_tracked" if module else "num_batches_tracked"
    if "float" not in ref.dtype or (last in _STATISTICS and counter in model.tensors):
        return False
    return None


def _dead_scales(found: Contents) -> Iterator[Oddity]:
    for name, fields in found.scalers.items():
        scale = setting(fields.get("scale"))
        if isinstance(scale, (int, float)) and (scale == 0 or not math.isfinite(scale)):
            harm = "every step would be skipped" if scale else "the next step would make every weight NaN"
            yield Oddity("V006", f"the loss scale of {name or 'the scaler'} is {scale:g}: {harm}")
