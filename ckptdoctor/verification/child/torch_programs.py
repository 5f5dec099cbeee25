"""What `--model-script` makes for PyTorch: a model, its optimizers and schedulers; and schedulers of stand-ins."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from ckptdoctor.verification.child import scripts
from ckptdoctor.verification.child.attempts import Said, Unproven, describe
from ckptdoctor.verification.child.torch_loading import located, torch
from ckptdoctor.verification.child.torch_optimizers import keys_of, over, parameters_of

_FORMS = "verify needs a model, (model, optimizer) or (model, optimizer, scheduler)"
_MAKE: dict[str, dict[str, Any]] = {
    "StepLR": {"step_size": 1},
    "MultiStepLR": {"milestones": [1]},
    "ConstantLR": {},
    "LinearLR": {},
    "PolynomialLR": {},
    "ExponentialLR": {"gamma": 0.5},
    "CosineAnnealingLR": {"T_max": 2},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "ReduceLROnPlateau": {},
    "CyclicLR": {"base_lr": 0.1, "max_lr": 0.2, "cycle_momentum": False},
    "OneCycleLR": {"max_lr": 0.2, "total_steps": 2, "cycle_momentum": False},
    "LambdaLR": {"lr_lambda": lambda _step: 1.0},
    "MultiplicativeLR": {"lr_lambda": lambda _step: 1.0},
}
"""Schedulers whose `load_state_dict` makes up all that they were built with → arguments that build one."""


def built(script: str) -> Any:
    """What the user's function answers with; from then on no library loads a file without `weights_only`.

    Raises:
        Unproven: It fails.
    """
    try:
        found = scripts.built(script)
    except Exception as error:
        raise Unproven(f"the function of --model-script fails: {describe(error)}") from error
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    return found


class Program:
    """What the user's function made.

    Attributes:
        model: The model.
        optimizers: Its optimizers; none if the function leaves that to verify.
        schedulers: Its schedulers.
        names: Identities of the model's parameters → their names.
    """

    def __init__(self, script: str) -> None:
        answer = built(script)
        parts = tuple(answer) if isinstance(answer, (tuple, list)) else (answer,)
        self.model: Any = parts[0] if parts else None
        if not isinstance(self.model, torch().nn.Module) or len(parts) > 3:  # noqa: PLR2004 - the forms below
            raise Unproven(f"the function of --model-script answers with {type(answer).__name__}; {_FORMS}")
        self.optimizers = _listed(parts[1] if len(parts) > 1 else None)
        self.schedulers = _listed(parts[2] if len(parts) > 2 else None)  # noqa: PLR2004
        self.names = {id(each): name for name, each in self.model.named_parameters()}

    def optimizer(self, wanted: dict[str, Any]) -> Any:
        """The program's optimizer; where it made none, one of the artifact's class over the model's parameters.

        Raises:
            Said: It made others, but not this one.
            Unproven: Which parameters it trains cannot be told.
        """
        if wanted["index"] < len(self.optimizers):
            return self.optimizers[wanted["index"]]
        if self.optimizers:
            raise Said(f"the function of --model-script made no optimizer for {wanted['name']}")
        return over(self._trained(wanted), wanted, settings=True)

    def _trained(self, wanted: dict[str, Any]) -> list[Any]:
        known = dict(self.model.named_parameters())
        paths = [each["path"].replace("/", ".") for each in wanted["trained"]]
        if all(each in known for each in paths):
            return [known[each] for each in paths]
        trainable = [each for each in known.values() if each.requires_grad]
        if len(trainable) == len(paths) and len(wanted["groups"]) == 1:
            return trainable
        raise Unproven(
            "which of the model's parameters the optimizer trains cannot be told: let the function of --model-script "
            "answer with (model, optimizer)"
        )


def require_class(optimizer: Any, wanted: dict[str, Any]) -> None:
    """What torch does not check: whether a program's optimizer is of the class whose state it was given.

    Since 2.9 a file makes an Adam of an AdamW and the other way round, as the rule is in the groups.

    Raises:
        Said: It is another class of torch.
    """
    own, names = type(optimizer), wanted["classes"]
    if not names or not own.__module__.startswith("torch.optim"):
        return
    if {own.__name__, names[0]} == {"Adam", "AdamW"} and "decoupled_weight_decay" in optimizer.defaults:
        return
    if own.__name__ not in names:
        raise Said(
            f"the artifact's optimizer is {' or '.join(names)}, the program's {own.__name__}: load_state_dict takes "
            "it, and training would go on by other rules"
        )


def _listed(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]


def stand_in_schedulers(optimizer: Any, wanted: list[dict[str, Any]]) -> dict[str, Any]:
    """Name → a scheduler of its class, of those that can be built without the program's own functions."""
    home: Any = import_module("torch.optim.lr_scheduler")
    made = {}
    for each in wanted:
        cls = getattr(home, each["class"] or "", None)
        if cls is not None and each["class"] in _MAKE:
            made[each["name"]] = cls(optimizer, **_MAKE[each["class"]])
    return made


def load_schedulers(schedulers: dict[str, Any], tree: Any) -> list[dict[str, Any]]:
    """Loads each scheduler, by its name among what the files hold, and answers with its count."""
    for name, each in schedulers.items():
        each.load_state_dict(located(tree, name))
    return scheduler_counts(schedulers)


def scheduler_counts(schedulers: dict[str, Any]) -> list[dict[str, Any]]:
    """Name, class and count of each scheduler; of one that is not there, None."""
    return [
        {"name": name, "class_name": each and type(each).__name__, "last_epoch": getattr(each, "last_epoch", None)}
        for name, each in schedulers.items()
    ]


def saved_for(tree: Any, wanted: dict[str, Any]) -> Any:
    """The state_dict of an optimizer.

    Raises:
        Unproven: It is of another convention than that of torch.optim.
    """
    saved = located(tree, wanted["name"])
    groups = saved.get("param_groups") if isinstance(saved, dict) else None
    if not isinstance(groups, list) or "state" not in saved or not all("params" in each for each in groups):
        raise Unproven(
            f"what the file holds under {wanted['name'] or 'its root'} is no state_dict of torch.optim: only that "
            "torch.load reads the file is proven"
        )
    return saved


def named_keys(optimizer: Any, saved: Any) -> list[str]:
    """What the artifact calls an optimizer's parameters; nothing where their number differs."""
    keys = keys_of(saved)
    return keys if len(keys) == len(parameters_of(optimizer)) else []
