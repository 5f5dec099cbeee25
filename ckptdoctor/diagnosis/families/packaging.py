"""P: how an artifact lies among other files."""

from __future__ import annotations

from collections.abc import Iterator

from ckptdoctor.containers.tensors.dtypes import total_nbytes
from ckptdoctor.diagnosis.evidence import Evidence, Rule, noticed
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.diagnosis.names import misnamed
from ckptdoctor.state import Format
from ckptdoctor.words import enumerate_some

_SHOWN = 8


def _state_file_astray(evidence: Evidence) -> Iterator[tuple[str, str]]:
    hint = 'write the file `checkpoint` beside it (model_checkpoint_path: "NAME"), or name the checkpoint that is meant'
    yield from noticed("P001", hint)(evidence)
    run = evidence.run
    yield from ((each.message, hint) for each in (run.oddities if run is not None else ()))
    if run is not None and run.astray:
        there = [each.name for each in run.members]
        here = f"here: {enumerate_some(there[-_SHOWN:], _SHOWN)}" if there else "nothing else is here"
        yield f"the state file lists {enumerate_some(run.astray)}, which is not here; {here}", hint


def _optimizer_share(evidence: Evidence) -> Iterator[tuple[str, str]]:
    slots = [slot.tensor for each in evidence.optimizers for slot in each.slots]
    own = total_nbytes([*slots, *(other.tensor for each in evidence.optimizers for other in each.other)])
    if not own:
        return
    model = total_nbytes([each.tensor for each in evidence.variables if each.tensor.location is not None])
    share = 100 * own / (own + model)
    kind = evidence.state.format if evidence.state is not None else Format.UNKNOWN
    yield f"{share:.0f} % of the bytes are optimizer state ({own:,} of {own + model:,})", _RELEASES.get(kind, "")


_WITHOUT = "for a release, save the model without it: load_model(path, compile=False).save(...)"
_RELEASES = {
    Format.KERAS_H5: _WITHOUT,
    Format.KERAS_ARCHIVE: _WITHOUT,
    Format.SAVED_MODEL: "for a release, save the model without it: model.save(path, include_optimizer=False)",
    Format.TF_CHECKPOINT: "for a release, save the model alone: tf.train.Checkpoint(model=model).write(path)",
    Format.TF_CHECKPOINT_V1: "for a release, save the model's variables alone: Saver(tf.compat.v1.model_variables())",
    Format.KERAS_WEIGHTS: "for a release, save the weights of a model that was not compiled",
}
"""How a model is saved without its optimizer; a dump holds nothing else."""


def _extension_lies(evidence: Evidence) -> Iterator[tuple[str, str]]:
    yield from noticed("P004")(evidence)
    state = evidence.state
    lie = None if state is None else misnamed(evidence.path, state.format)
    if state is None or lie is None:
        return
    yield (
        f"{lie[0]} promises {lie[1]}, but the bytes are {_CALLED[state.format]}",
        f"loaders choose by the name: rename it to end in {_ENDS[state.format]}",
    )


_CALLED: dict[Format, str] = {
    Format.TF_CHECKPOINT: "a TensorFlow checkpoint",
    Format.TF_CHECKPOINT_V1: "a TensorFlow V1 checkpoint",
    Format.SAVED_MODEL: "a SavedModel",
    Format.KERAS_H5: "a whole model in HDF5",
    Format.KERAS_H5_WEIGHTS: "weights in the old HDF5 layout",
    Format.KERAS_ARCHIVE: "a .keras archive",
    Format.KERAS_WEIGHTS: "weights in the layout of .weights.h5",
    Format.OPTIMIZER_DUMP: "a dump of arrays",
    Format.UNKNOWN: "of no known format",
}
_ENDS: dict[Format, str] = {
    Format.TF_CHECKPOINT: ".ckpt",
    Format.TF_CHECKPOINT_V1: ".ckpt",
    Format.SAVED_MODEL: "nothing: it is a directory",
    Format.KERAS_H5: ".h5",
    Format.KERAS_H5_WEIGHTS: ".h5",
    Format.KERAS_ARCHIVE: ".keras",
    Format.KERAS_WEIGHTS: ".weights.h5",
    Format.OPTIMIZER_DUMP: ".pkl, .npy or .npz, as what it is",
    Format.UNKNOWN: "what it is",
}


def _latest_is_older(evidence: Evidence) -> Iterator[tuple[str, str]]:
    run = evidence.run
    latest = run.member(run.latest) if run is not None else None
    if run is None or latest is None or latest.iterations is None:
        return
    ahead = [
        (each.iterations, each)
        for each in run.families[latest.family]
        if each.iterations is not None and each.iterations > latest.iterations
    ]
    if ahead:
        steps, best = max(ahead, key=lambda pair: pair[0])
        yield (
            f"the state file's latest is {latest.name} at iteration {latest.iterations:,}; {best.name} is at {steps:,}",
            f"resume from {best.path}, or remove it if the run was rolled back on purpose",
        )


RULES: tuple[Rule, ...] = (
    Rule(
        "P001", "state-file-astray", Severity.ERROR, "the `checkpoint` file names what is not here", _state_file_astray
    ),
    Rule("P002", "optimizer-share", Severity.INFO, "how much of the bytes is optimizer state", _optimizer_share),
    Rule(
        "P003",
        "part-of-checkpoint",
        Severity.INFO,
        "the path is one file of a checkpoint; its prefix",
        noticed("P003"),
    ),
    Rule(
        "P004",
        "extension-lies",
        Severity.WARNING,
        "the bytes are another format than the name says",
        _extension_lies,
    ),
    Rule(
        "P005",
        "latest-is-older",
        Severity.WARNING,
        "the state file's latest is behind another checkpoint beside it",
        _latest_is_older,
    ),
    Rule(
        "P006",
        "newest-of-several",
        Severity.INFO,
        "a directory of several artifacts: which one was read",
        noticed("P006", "name the one that is meant"),
    ),
)
