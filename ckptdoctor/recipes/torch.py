"""Scripts for files of torch.save, and for what Lightning makes of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ckptdoctor import storage
from ckptdoctor.containers.pickles.reading import Node, Thing
from ckptdoctor.containers.torchfiles.reading import load
from ckptdoctor.diagnosis.status import summary, title
from ckptdoctor.errors import NoRecipe
from ckptdoctor.formats.torch.contents import Contents, contents, fields_of, written
from ckptdoctor.recipes.proof import close, compared, sample
from ckptdoctor.recipes.writing import MODEL, OPTIMIZER, SCHEDULER, Gap, Script, literal, model_gap
from ckptdoctor.state import OptimizerState, ParamGroup, SchedulerState, TrainingState

CLASSES = frozenset({
    "ASGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "LBFGS", "Muon", "NAdam", "RAdam", "RMSprop",
    "Rprop", "SGD", "SparseAdam",
})  # fmt: skip
"""What torch.optim has; others come from a package that the file does not name."""
_ARGUMENTS = {
    "StepLR": ("step_size", "gamma"),
    "MultiStepLR": ("milestones", "gamma"),
    "ConstantLR": ("factor", "total_iters"),
    "LinearLR": ("start_factor", "end_factor", "total_iters"),
    "ExponentialLR": ("gamma",),
    "PolynomialLR": ("total_iters", "power"),
    "CosineAnnealingLR": ("T_max", "eta_min"),
    "CosineAnnealingWarmRestarts": ("T_0", "T_mult", "eta_min"),
    "ReduceLROnPlateau": ("mode", "factor", "patience"),
}
"""Scheduler → arguments that its state holds; others take functions, or more than they keep."""
_PLACE = re.compile(r"(?:^|[/.])(?:state|fast_state)[/.](?P<index>.+)[/.](?P<name>[^/.]+)\Z")
_REFUSED = "X005"


def recipe(state: TrainingState, path: str) -> Script:
    """A file of torch.save: models, then optimizers, then schedulers; then their states, in the same order.

    A scheduler that is made after a state was loaded would set the rate back to its first.

    Raises:
        NoRecipe: It is a directory of such files.
    """
    if storage.is_dir(path):
        raise NoRecipe("no script restores files of torch.save beside each other: torch.load(FILE) has each", path)
    root = load(path).root
    found = contents(root)
    models = [each for each in found.models if not each.averaged]
    gaps: list[Gap] = []
    body = [_loading(state)]
    whole = [each.label for each in models if isinstance(_at(root, each.label), Thing)]
    if models and not whole:
        labels = [each.label for each in models]
        says = "The program's own model, as it was trained." if len(models) == 1 else (
            f"The program's own models, as they were trained: a dictionary of {', '.join(map(literal, labels))}."
        )  # fmt: skip
        gaps.append(model_gap(state, says))
        body += _models(root, labels)
    elif whole:
        body += [f"model = {_expression(root, whole[0])}", NAMED]
    elif found.optimizers:
        gaps.append(model_gap(state, "The program's own model, as it was trained, with its weights loaded."))
        body += [f"model = {MODEL}()", NAMED]
    more, proof = _optimizers(state, root, found, gaps, several=len(models) > 1)
    body += more
    body += _beside(root, found)
    return Script(
        title=summary(state),
        framework="PyTorch",
        packages=("torch",),
        imports=(*(["import numpy"] if any("numpy." in line for line in body) else []), "import torch"),
        path=path,
        gaps=tuple(gaps),
        body=without_unused(body),
        proof=tuple(proof),
        gives=", ".join(_given(state, found, len(models), known=bool(gaps or whole))),
        notes=_notes(state),
    )  # fmt: skip


def _given(state: TrainingState, found: Contents, models: int, *, known: bool) -> list[str]:
    """What the script has in the end."""
    scheduled = [each for each in state.schedulers if each.name in found.schedulers] if state.optimizers else []
    given = [("models" if models > 1 else "model") if known else "checkpoint"]
    for kind, number in (("optimizer", len(state.optimizers)), ("scheduler", len(scheduled))):
        given += [kind if number == 1 else f"{kind}s"] if number else []
    return given


def _loading(state: TrainingState) -> str:
    refused = any(each.code == _REFUSED for each in state.oddities)
    told = "False)  # it names what weights_only=True refuses: only if you trust the file" if refused else "True)"
    return f'checkpoint = torch.load(PATH, map_location="cpu", weights_only={told}'


def _notes(state: TrainingState) -> tuple[str, ...]:
    found = [each.message for each in state.oddities if each.code in {_REFUSED, "X003"}]
    if any(each.code == _REFUSED for each in state.oddities):
        found.append("to keep weights_only=True, allow these names: torch.serialization.add_safe_globals([...])")
    if any(each.path.startswith(("module.", "_orig_mod.")) for each in state.variables):
        found.append("the names begin with a wrapper's (DistributedDataParallel, torch.compile): wrap the model first")
    return tuple(found)


def _models(root: Node, labels: Sequence[str]) -> list[str]:
    if len(labels) == 1:
        return [
            f"model = {MODEL}()",
            f"model.load_state_dict({_expression(root, labels[0])})",
            NAMED,
        ]
    return [
        f"models = {MODEL}()",
        *(f"models[{literal(each)}].load_state_dict({_expression(root, each)})" for each in labels),
        "parameters = {",
        '    f"{label}/{name}": each for label, model in models.items() for name, each in model.named_parameters()',
        "}",
    ]


def _optimizers(
    state: TrainingState, root: Node, found: Contents, gaps: list[Gap], *, several: bool
) -> tuple[list[str], list[str]]:
    """Lines that make and load them with their schedulers, and lines that prove it."""
    body: list[str] = []
    proof: list[str] = []
    if not state.optimizers:
        return [], []
    scheduled = [each for each in state.schedulers if each.name in found.schedulers]
    places = {each.name: _place("optimizer", each.name, len(state.optimizers)) for each in state.optimizers}
    rates = {each.name: _place("scheduler", each.name, len(scheduled)) for each in scheduled}
    body += ["optimizers = {}"] if len(places) > 1 else []
    for each in state.optimizers:
        body += made(each, state, gaps, places[each.name], several=several)
    body += ["schedulers = {}"] if len(rates) > 1 else []
    for one in scheduled:
        owner = places.get(one.optimizer or "", next(iter(places.values())))
        body += _scheduler(one, rates[one.name], owner, found, gaps)
    for each in state.optimizers:
        place = places[each.name]
        whole = isinstance(_at(root, each.name), Thing)
        value = _expression(root, each.name)
        body.append(f"{place}.load_state_dict({value}{'.state_dict()' if whole else ''})")
        proof += proven(each, place)
    body += [f"{rates[one.name]}.load_state_dict({_expression(root, one.name)})" for one in scheduled]
    for one in scheduled:
        if one.last_epoch is not None:
            proof += compared("the scheduler's count", f"{rates[one.name]}.last_epoch", one.last_epoch)
    return body, proof


def _place(kind: str, name: str, number: int) -> str:
    """What an optimizer or scheduler is called in the script: of several, each by its name in the file."""
    return kind if number == 1 else f"{kind}s[{literal(name)}]"


NAMED = "parameters = dict(model.named_parameters())"
_BY_NAME = "parameters["


def without_unused(body: Iterable[str]) -> tuple[str, ...]:
    """The lines, without the one that names parameters where nobody asks for one by its name."""
    lines = tuple(body)
    used = any(_BY_NAME in line for line in lines)
    return tuple(line for line in lines if used or line != NAMED)


def made(
    each: OptimizerState, state: TrainingState, gaps: list[Gap], place: str, *, several: bool = False
) -> list[str]:
    """Lines that make an optimizer over the model's parameters."""
    groups = _groups(each, state, several=several)
    if each.class_name not in CLASSES:
        if not any(gap.signature.startswith(OPTIMIZER) for gap in gaps):
            known = f"The optimizer, of class {each.class_name}" if each.class_name else "The optimizer"
            says = f"{known}, over these parameter groups."
            gaps.append(Gap(f"{OPTIMIZER}(groups)", says, _settings(each)))
        return [f"{place} = {OPTIMIZER}({groups[0]}", *groups[1:-1], f"{groups[-1]})"] if len(groups) > 1 else [
            f"{place} = {OPTIMIZER}({groups[0]})"
        ]  # fmt: skip
    rate = _rate(each)
    end = f", lr={rate!r})" if rate is not None and each.class_name != "Adafactor" else ")"
    first = f"{place} = torch.optim.{each.class_name}("
    others = f"  # or {', '.join(each.class_candidates)}" if each.class_inferred and each.class_candidates else ""
    return [f"{first}{groups[0]}{end}{others}"] if len(groups) == 1 else [
        f"{first}{groups[0]}{others}", *groups[1:-1], f"{groups[-1]}{end}"
    ]  # fmt: skip


def _settings(each: OptimizerState) -> tuple[str, ...]:
    return tuple(f"{name} = {value!r}"[:200] for name, value in each.hyperparameters.items())


def _rate(each: OptimizerState) -> float | None:
    held = [each.hyperparameters, *(group.hyperparameters for group in each.groups)]
    rate = next((settings["lr"] for settings in held if isinstance(settings.get("lr"), (int, float))), None)
    return float(rate) if isinstance(rate, (int, float)) else None


def _groups(each: OptimizerState, state: TrainingState, *, several: bool) -> list[str]:
    """The argument that says which parameters are in which group, in the order of the state."""
    names = [_names(group) for group in each.groups]
    every = [variable.path for variable in state.variables if variable.trainable is not False]
    if not names or any(group is None for group in names) or (names == [every] and not several):
        return ["model.parameters()"] if not several else ["parameters.values()"]
    lines = ["["]
    for group in names:
        lines += ['    {"params": [parameters[name] for name in [']
        lines += [f"        {literal(name)}," for name in group or ()]
        lines += ["    ]]},"]
    return [*lines, "]"]


def _names(group: ParamGroup) -> list[str] | None:
    """The names of its parameters; None if one is not told."""
    return None if None in group.variables else [each for each in group.variables if each is not None]


def _scheduler(one: SchedulerState, place: str, optimizer: str, found: Contents, gaps: list[Gap]) -> list[str]:
    fields = {str(key): value for key, value in found.schedulers[one.name].items()}
    wanted = _ARGUMENTS.get(one.class_name or "")
    if wanted is None or any(name not in fields for name in wanted):
        if not any(gap.signature.startswith(SCHEDULER) for gap in gaps):
            kind = f", a {one.class_name}" if one.class_name else ""
            says = f"The learning-rate scheduler of the program{kind}: its state does not hold all that makes it."
            gaps.append(Gap(f"{SCHEDULER}(optimizer)", says))
        return [f"{place} = {SCHEDULER}({optimizer})"]
    arguments = ", ".join(f"{name}={_plain(fields[name])}" for name in wanted)
    return [f"{place} = torch.optim.lr_scheduler.{one.class_name}({optimizer}, {arguments})"]


def _plain(value: Node) -> str:
    if isinstance(value, dict):  # milestones, as a Counter
        return literal(sorted(each for each in value if isinstance(each, int)))
    if isinstance(value, Thing):
        inner = value.fields or (value.args[0] if value.args else None)
        return _plain(inner) if isinstance(inner, (dict, list)) else literal([])
    return literal(value)


def proven(each: OptimizerState, place: str) -> list[str]:
    """Lines that prove an optimizer's count and one of its slots."""
    lines: list[str] = []
    told = sample(each)
    match = _PLACE.search(told.slot.tensor.key) if told is not None else None
    counted = _PLACE.search(each.iterations_key or "")
    if each.iterations is not None and counted is not None and counted["name"] == "step":
        held = f'{place}.state_dict()["state"][{_index(counted["index"])}]["step"]'
        lines += compared(f"the count of {_said(each)}", f"int({held})", each.iterations)
    if told is not None and match is not None:
        held = f'{place}.state_dict()["state"][{_index(match["index"])}][{literal(match["name"])}]'
        lines += close(f"{_said(each)}'s {match['name']}", f"float({held}.double().norm())", told.norm)
    return lines


def _index(text: str) -> str:
    return str(int(text)) if text.isdecimal() else literal(text)


def _said(each: OptimizerState) -> str:
    return re.sub(r"[^\w ]", "", title(each)) or "the optimizer"


def _beside(root: Node, found: Contents) -> list[str]:
    """Scalers and states of random numbers."""
    lines: list[str] = []
    for name, fields in found.scalers.items():
        if fields:
            lines += [
                'scaler = torch.amp.GradScaler("cuda" if torch.cuda.is_available() else "cpu")',
                f"scaler.load_state_dict({_expression(root, name)})",
            ]
    for name in found.rng:
        last, value = name.rpartition("/")[2].lower(), _expression(root, name)
        if "cuda" in last:
            lines.append(f"torch.cuda.set_rng_state_all({value}) if torch.cuda.is_available() else None")
        elif "numpy" in last or last.startswith("np"):
            lines += [f"numpy.random.set_state({value})"]
        elif "python" in last or last in {"random", "random_state"}:
            lines += [f"random.setstate({value})"]
        else:
            lines.append(f"torch.set_rng_state({value})")
    return lines


def _steps(root: Node, label: str) -> Iterable[tuple[str, Node]]:
    """From the root to what a label names: each subscript, and what lies there. Keys may have slashes in them."""
    node, rest = root, label
    while rest:
        fields = fields_of(node)
        if fields is not None:
            keys = {written(key): key for key in fields}
            name = next((each for each in sorted(keys, key=len) if rest == each or rest.startswith(f"{each}/")), None)
            if name is None:
                return
            subscript = f".{name}" if isinstance(node, Thing) and name.isidentifier() else f"[{literal(keys[name])}]"
            node, rest = fields[keys[name]], rest[len(name) + 1 :]
        elif isinstance(node, (list, tuple)):
            name, _, rest = rest.partition("/")
            subscript, node = f"[{int(name)}]", node[int(name)]
        else:
            return
        yield subscript, node


def _expression(root: Node, label: str) -> str:
    return "checkpoint" + "".join(each for each, _ in _steps(root, label))


def _at(root: Node, label: str) -> Node:
    node = root
    for _, each in _steps(root, label):
        node = each
    return node
