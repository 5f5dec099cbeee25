"""Where in an epoch trainers were when they saved, and how good the model was, as far as they write it down."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import isfinite

from ckptdoctor.containers.pickles.reading import Node
from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.formats.torch.contents import Fields, fields_of
from ckptdoctor.logged import Logged, Metric
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Oddity

_NEARLY = 1e-6
"""Trainer divides steps by their number an epoch."""


def of_lightning(root: Node) -> Iterator[Oddity]:
    """Lightning's `loops`, from 1.5 on; a checkpoint after the last batch is one between epochs."""
    at = _below(root, "loops", "fit_loop", "epoch_loop.batch_progress")
    current = _below(at, "current")
    done = current.get("ready") if current is not None else None
    if at is not None and at.get("is_last_batch") is False and type(done) is int and done > 0:
        yield Oddity("S021", f"it was saved after batch {done:,} of an epoch, and its loader's place is not here")


def _below(node: Node | Fields | None, *names: str) -> Fields | None:
    found = node if isinstance(node, Mapping) else fields_of(node)
    for name in names:
        found = fields_of(found.get(name)) if found is not None else None
    return found


def of_trainer(progress: Mapping[str, object]) -> Iterator[Oddity]:
    """The `epoch` of transformers' Trainer, a fraction within one."""
    epoch = progress.get("epoch")
    if isinstance(epoch, float) and 0 < epoch < 1 << 53 and abs(epoch - round(epoch)) > _NEARLY:
        yield Oddity("S021", f"it was saved at epoch {epoch:.4g}: Trainer skips the batches that were done")


# ----------------------------------------------------------------------------------------------- how good the model was

_SCORES = (
    r"(?i)(?:.*[_/.-])?(?:loss|acc|accuracy|score|metric|error|f1|auc|m?ap|m?iou|bleu|rouge|psnr|perplexity|ppl|reward|prec1|acc1"
    r"|top1|fid|wer|cer|mae|mse|rmse|r2|dice)(?:[_/.-].*)?\Z"
)
_FIGURES = (int, float, TensorRef)
_FIRST = ("val", "valid", "validation", "eval", "test", "dev")
"""What a figure's name begins with that training does not see."""


def logged_in(root: Node) -> Logged:
    """What a dictionary tells at its top: `epoch`, `val_loss`, `best_acc`, and Lightning's ModelCheckpoint."""
    fields = fields_of(root) or {}
    epoch = _number(fields.get("epoch"))
    for name, callback in (fields_of(fields.get("callbacks")) or {}).items():
        held = fields_of(callback) if "ModelCheckpoint" in str(name) else None
        if held is not None and isinstance(held.get("monitor"), str):
            monitor, value = str(held["monitor"]), _number(held.get("current_score"))
            best = held.get("best_model_path")
            return Logged(
                epoch,
                Metric(monitor, value, "ModelCheckpoint") if value is not None else None,
                best if isinstance(best, str) and best else None,
                "best_model_path",
            )
    figures = [name for name, each in fields.items() if isinstance(name, str) and isinstance(each, _FIGURES)]
    scores = list(filter(re.compile(_SCORES).match, figures)) if figures else []
    for name in sorted(scores, key=lambda each: not each.lower().startswith(_FIRST)):
        value = _number(fields[name])
        if value is not None:
            return Logged(epoch, Metric(name, value, name))
    return Logged(epoch)


def logged_by_trainer(progress: Mapping[str, object]) -> Logged:
    """What `trainer_state.json` tells: the last figure in its log, of the kind by which it judges its best."""
    epoch, best = _number(progress.get("epoch")), progress.get("best_model_checkpoint")
    history = progress.get("log_history")
    entries = [each for each in history if isinstance(each, dict)] if isinstance(history, list) else []
    judged = _judged_by(entries, progress.get("best_metric"))
    metric = None
    for name in (*([judged] if judged else []), "eval_loss", "loss"):
        value = next((found for each in reversed(entries) if (found := _number(each.get(name))) is not None), None)
        if value is not None:
            metric = Metric(name, value, "trainer_state.json")
            break
    return Logged(epoch, metric, best if isinstance(best, str) and best else None, "best_model_checkpoint")


def _judged_by(entries: list[dict[str, object]], best: object) -> str | None:
    """The name under which the best value stands in the log."""
    if not isinstance(best, float):
        return None
    return next(
        (name for each in entries for name, value in each.items() if name[:5] == "eval_" and value == best), None
    )


def _number(value: object) -> float | None:
    """A number, or the one element of a tensor; None of everything else, and of what is not finite."""
    if isinstance(value, TensorRef):
        value = read_scalar(value) if value.size == 1 else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < 1 << 53 and isfinite(value) else None
