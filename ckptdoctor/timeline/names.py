"""What the name of a checkpoint tells: the step, the epoch, a metric.

Callbacks are given a pattern, so a name has what its program put there: `epoch=3-val_loss=0.12.ckpt` (Lightning),
`model.03-0.12.keras` (the example of Keras' ModelCheckpoint), `checkpoint-500`, `step_00100.pt`, `ep07.weights.h5`.
"""

import re
from typing import NamedTuple

from ckptdoctor.formats.registry import endings
from ckptdoctor.logged import Metric

SOURCE = "name"
_ENDINGS = endings()
_NUMBER = r"-?\d{1,15}(?:\.\d{1,18})?(?:e[-+]?\d{1,3})?"
_PAIR = re.compile(rf"(?P<name>[A-Za-z][\w./]*?)=(?P<value>{_NUMBER})(?![\w])")
_EPOCH = re.compile(r"(?:^|[^a-z])(?:epochs?|ep)[-_.]?(?P<value>\d{1,9})(?!\d|\.\d)", re.IGNORECASE)
_STEP = re.compile(
    r"(?:^|[^a-z])(?:global_?steps?|steps?|iters?|iterations?|checkpoint|ckpt)[-_.]?(?P<value>\d{1,15})(?!\d|\.\d)",
    re.IGNORECASE,
)
_SCORE = re.compile(
    r"(?:^|[-_.])(?P<name>(?:(?:val|valid|eval|test|dev|train|best)[-_.])?"
    r"(?:loss|acc|accuracy|score|error|f1|auc|map|miou|bleu|psnr|ppl|reward|mae|mse|rmse))[-_.]?(?P<value>-?\d+\.\d+)",
    re.IGNORECASE,
)
_LAST = re.compile(r"(?:^|[-_.])(?P<epoch>\d{1,6})[-_](?P<value>-?\d{1,9}\.\d{1,18})\Z")


class Told(NamedTuple):
    """What a name tells."""

    step: int | None = None
    epoch: float | None = None
    metric: Metric | None = None


def read_name(name: str) -> Told:
    """What the name of a checkpoint tells; nothing where it is not sure."""
    stem = next((name.removesuffix(each) for each in _ENDINGS if name.endswith(each)), name)
    pairs = {match["name"].lstrip("._"): match["value"] for match in _PAIR.finditer(stem)}
    if pairs:
        scores = [key for key in pairs if key.rpartition("/")[2] not in {"epoch", "step", "global_step"}]
        metric = Metric(scores[0], float(pairs[scores[0]]), SOURCE) if scores else None
        step = pairs.get("step", pairs.get("global_step"))
        return Told(_whole(step), float(pairs["epoch"]) if "epoch" in pairs else None, metric)
    epoch, step_, score, last = (pattern.search(stem) for pattern in (_EPOCH, _STEP, _SCORE, _LAST))
    metric = Metric(score["name"], float(score["value"]), SOURCE) if score else None
    if last is not None and score is None:
        metric = Metric(None, float(last["value"]), SOURCE)
    number = epoch["value"] if epoch else last["epoch"] if last is not None else None
    return Told(_whole(step_["value"]) if step_ else None, float(number) if number is not None else None, metric)


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
