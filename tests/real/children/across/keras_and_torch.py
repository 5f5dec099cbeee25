"""One program of Keras and the same of PyTorch: each saves, the other goes on.

    python keras_and_torch.py make FOLDER NAME...
    python keras_and_torch.py prove FOLDER NAME...

`make` writes for each class that is named `NAME.keras` and `NAME.pt` after 7 steps, what each is grafted into
(`NAME-bare.pt`, `NAME-fresh.pt`, `NAME-target.keras`), and the weights that 5 more steps lead to. `prove` loads
the grafts (`NAME-bare-out.pt`, …), takes those 5 steps, and prints as JSON how far the weights are from that.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import torch

MODE, FOLDER, NAMES = sys.argv[1], Path(sys.argv[2]), sys.argv[3:]
BEFORE, AFTER = 7, 12
LAYERS = ("hidden", "mid", "out")
K, T = keras.optimizers, torch.optim
ROWS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "adam": (lambda: K.Adam(0.01), lambda p: T.Adam(p, 0.01, eps=1e-7)),
    "amsgrad": (lambda: K.Adam(0.01, amsgrad=True), lambda p: T.Adam(p, 0.01, eps=1e-7, amsgrad=True)),
    "adamw": (lambda: K.AdamW(0.01, weight_decay=0.01), lambda p: T.AdamW(p, 0.01, eps=1e-7, weight_decay=0.01)),
    "adagrad": (lambda: K.Adagrad(0.05), lambda p: T.Adagrad(p, 0.05, eps=1e-7)),
    "adadelta": (lambda: K.Adadelta(1.0), lambda p: T.Adadelta(p, 1.0, rho=0.95, eps=1e-7)),
    "adamax": (lambda: K.Adamax(0.01), lambda p: T.Adamax(p, 0.01, eps=1e-7)),
    "nadam": (lambda: K.Nadam(0.01), lambda p: T.NAdam(p, 0.01, eps=1e-7, momentum_decay=1.0)),
    "rmsprop": (lambda: K.RMSprop(0.01), lambda p: T.RMSprop(p, 0.01, alpha=0.9, eps=1e-7)),
    "momentum": (lambda: K.SGD(0.05, momentum=0.9), lambda p: T.SGD(p, 0.05, momentum=0.9)),
    "nesterov": (
        lambda: K.SGD(0.05, momentum=0.9, nesterov=True),
        lambda p: T.SGD(p, 0.05, momentum=0.9, nesterov=True),
    ),
}


class Net(torch.nn.Module):
    """The same layers as those of `keras_net`."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.mid, self.out = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Two layers of tanh, and one without."""
        found: torch.Tensor = self.out(torch.tanh(self.mid(torch.tanh(self.hidden(x)))))
        return found


def keras_net(optimizer: Any) -> Any:
    """Two layers of one shape, and another."""
    keras.utils.set_random_seed(1)
    dense = keras.layers.Dense
    model = keras.Sequential(
        [keras.Input((4,)), dense(4, "tanh", name="hidden"), dense(4, "tanh", name="mid"), dense(2, name="out")]
    )
    model.compile(optimizer, "mse", run_eagerly=True)  # compiling takes longer than the steps
    return model


def data(step: int) -> tuple[Any, Any]:
    """The batch of a step."""
    random = np.random.RandomState(step)
    return random.randn(8, 4).astype("f"), random.randn(8, 2).astype("f")


def train(model: Any, optimizer: Any, start: int, end: int) -> None:
    """So many steps; Keras has its optimizer in its model."""
    for step in range(start, end):
        x, y = data(step)
        if optimizer is None:
            model.train_on_batch(x, y)
            continue
        optimizer.zero_grad()
        ((model(torch.tensor(x)) - torch.tensor(y)) ** 2).mean().backward()
        optimizer.step()


def of_keras(model: Any) -> dict[str, torch.Tensor]:
    """The weights of Keras' model under PyTorch's names."""
    found: dict[str, torch.Tensor] = {}
    for name in LAYERS:
        kernel, bias = model.get_layer(name).get_weights()
        found |= {f"{name}.weight": torch.tensor(kernel.T.copy()), f"{name}.bias": torch.tensor(bias)}
    return found


def put(model: Any, net: Net) -> None:
    """PyTorch's weights in Keras' model."""
    for name in LAYERS:
        layer = getattr(net, name)
        model.get_layer(name).set_weights([layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy()])


def make() -> None:
    """Writes what is grafted."""
    for name in NAMES:
        of_k, of_t = ROWS[name]
        model = keras_net(of_k())
        train(model, None, 0, BEFORE)
        model.save(FOLDER / f"{name}.keras")
        weights = of_keras(model)
        torch.save(weights, FOLDER / f"{name}-bare.pt")
        fresh = {"model": weights, "optimizer": of_t(Net().parameters()).state_dict()}
        torch.save(fresh, FOLDER / f"{name}-fresh.pt")
        train(model, None, BEFORE, AFTER)
        torch.save(of_keras(model), FOLDER / f"{name}-keras-end.pt")
        torch.manual_seed(0)
        net = Net()
        optimizer = of_t(net.parameters())
        train(net, optimizer, 0, BEFORE)
        torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, FOLDER / f"{name}.pt")
        target = keras_net(of_k())
        put(target, net)
        target.save(FOLDER / f"{name}-target.keras")
        train(net, optimizer, BEFORE, AFTER)
        torch.save(net.state_dict(), FOLDER / f"{name}-torch-end.pt")
    scheduled = keras_net(K.SGD(K.schedules.ExponentialDecay(0.1, 5, 0.5), momentum=0.9))
    train(scheduled, None, 0, BEFORE)
    scheduled.save(FOLDER / "scheduled.keras")
    decaying = keras_net(K.Adam(0.01, weight_decay=0.01))
    train(decaying, None, 0, BEFORE)
    decaying.save(FOLDER / "decaying.keras")
    torch.save(of_keras(decaying), FOLDER / "decaying-bare.pt")
    lion = keras_net(K.Lion(0.01))
    train(lion, None, 0, BEFORE)
    lion.save(FOLDER / "lion.keras")
    net = Net()
    slow = T.NAdam(net.parameters())
    train(net, slow, 0, BEFORE)
    torch.save({"model": net.state_dict(), "optimizer": slow.state_dict()}, FOLDER / "slow-nadam.pt")


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest difference of weights."""
    return max((one[name] - other[name]).abs().max().item() for name in one)


def prove() -> dict[str, float]:
    """Goes on from the grafts."""
    found = {}
    for name in NAMES:
        _, of_t = ROWS[name]
        for target in ("bare", "fresh"):
            saved = torch.load(FOLDER / f"{name}-{target}-out.pt", weights_only=True)
            net = Net()
            net.load_state_dict(saved["model"])
            optimizer = of_t(net.parameters())
            optimizer.load_state_dict(saved["optimizer"])
            train(net, optimizer, BEFORE, AFTER)
            found[f"{name} into {target}"] = apart(torch.load(FOLDER / f"{name}-keras-end.pt"), net.state_dict())
        model = keras.models.load_model(FOLDER / f"{name}-out.keras")
        model.run_eagerly = True
        train(model, None, BEFORE, AFTER)
        found[f"{name} into keras"] = apart(torch.load(FOLDER / f"{name}-torch-end.pt"), of_keras(model))
    return found


if MODE == "make":
    make()
else:
    sys.stdout.write(json.dumps(prove()) + "\n")
