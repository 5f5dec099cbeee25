"""A program of JAX saves its chain of optax, and the same programs of PyTorch and of Keras go on; and the other way.

    python with_optax.py FOLDER NAME...

Prints as JSON, for each class that is named and framework, how far the weights are from the uninterrupted run's after 5
more steps; or why the graft was refused.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["KERAS_BACKEND"] = "tensorflow"

import jax
import jax.numpy as jnp
import keras
import numpy as np
import optax
import torch
from flax import serialization

import ckptdoctor
from ckptdoctor.errors import GraftRefused

FOLDER = Path(sys.argv[1])
BEFORE, AFTER = 7, 12
LAYERS = ("hidden", "mid", "out")
K, T = keras.optimizers, torch.optim
ROWS: dict[str, tuple[Any, Any, Any]] = {
    "adam": (optax.adam(0.01), lambda: K.Adam(0.01, epsilon=1e-8), lambda p: T.Adam(p, 0.01)),
    "adamw": (
        optax.adamw(0.01, weight_decay=0.01),
        lambda: K.AdamW(0.01, weight_decay=0.01, epsilon=1e-8),
        lambda p: T.AdamW(p, 0.01, weight_decay=0.01),
    ),
    "momentum": (
        optax.sgd(0.05, momentum=0.9),
        lambda: K.SGD(0.05, momentum=0.9),
        lambda p: T.SGD(p, 0.05, momentum=0.9),
    ),
    "rmsprop": (
        optax.rmsprop(0.01, decay=0.9, momentum=0.9),
        lambda: K.RMSprop(0.01, rho=0.9, momentum=0.9, epsilon=1e-8),
        lambda p: T.RMSprop(p, 0.01, alpha=0.9, momentum=0.9),
    ),
    "adagrad": (optax.adagrad(0.05), lambda: K.Adagrad(0.05), lambda p: T.Adagrad(p, 0.05, eps=1e-7)),
    "adadelta": (
        optax.adadelta(1.0, rho=0.95),
        lambda: K.Adadelta(1.0, epsilon=1e-6),
        lambda p: T.Adadelta(p, 1.0, rho=0.95),
    ),
    "adamax": (optax.adamax(0.01), lambda: K.Adamax(0.01, epsilon=1e-8), lambda p: T.Adamax(p, 0.01)),
    "amsgrad": (optax.amsgrad(0.01), lambda: K.Adam(0.01, amsgrad=True), lambda p: T.Adam(p, 0.01, amsgrad=True)),
    "nadam": (optax.nadam(0.01), lambda: K.Nadam(0.01), T.NAdam),
}


class Net(torch.nn.Module):
    """The same layers in PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.mid, self.out = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4), torch.nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Two layers of tanh, and one without."""
        found: torch.Tensor = self.out(torch.tanh(self.mid(torch.tanh(self.hidden(x)))))
        return found


def keras_net(optimizer: Any, weights: Any) -> Any:
    """The same in Keras, with these weights."""
    dense = keras.layers.Dense
    model = keras.Sequential(
        [keras.Input((4,)), dense(4, "tanh", name="hidden"), dense(4, "tanh", name="mid"), dense(2, name="out")]
    )
    model.compile(optimizer, "mse", run_eagerly=True)  # compiling takes longer than the steps
    for name in LAYERS:
        model.get_layer(name).set_weights([np.array(weights[name][part]) for part in ("kernel", "bias")])
    return model


def applied(weights: Any, x: Any) -> Any:
    """The same in JAX."""
    for name in LAYERS[:2]:
        x = jnp.tanh(x @ weights[name]["kernel"] + weights[name]["bias"])
    return x @ weights["out"]["kernel"] + weights["out"]["bias"]


def data(step: int) -> tuple[Any, Any]:
    """The batch of a step."""
    random = np.random.RandomState(step)
    return random.randn(8, 4).astype("f"), random.randn(8, 2).astype("f")


def trained(weights: Any, state: Any, chain: Any, start: int, end: int) -> tuple[Any, Any]:
    """So many steps of JAX."""
    for step in range(start, end):
        x, y = data(step)
        gradients = jax.grad(lambda each, x=x, y=y: jnp.mean((applied(each, x) - y) ** 2))(weights)
        updates, state = chain.update(gradients, state, weights)
        weights = optax.apply_updates(weights, updates)
    return weights, state


def of_torch(weights: Any) -> dict[str, torch.Tensor]:
    """JAX's weights under PyTorch's names."""
    found: dict[str, torch.Tensor] = {}
    for name in LAYERS:
        found[f"{name}.weight"] = torch.tensor(np.array(weights[name]["kernel"]).T.copy())
        found[f"{name}.bias"] = torch.tensor(np.array(weights[name]["bias"]).copy())
    return found


def graft(donor: Path, target: Path, out: Path, **options: Any) -> str:
    """Why it was refused; "" if it was not."""
    try:
        ckptdoctor.graft(donor, target, out, **options)
    except GraftRefused as error:
        return str(error)
    return ""


def in_torch(name: str, make: Any, end: dict[str, torch.Tensor]) -> float | str:
    """PyTorch goes on."""
    refused = graft(FOLDER / f"{name}.msgpack", FOLDER / f"{name}.pt", FOLDER / f"{name}-out.pt")
    if refused:
        return refused
    saved = torch.load(FOLDER / f"{name}-out.pt", weights_only=True)
    net = Net()
    net.load_state_dict(saved["model"])
    optimizer = make(net.parameters())
    optimizer.load_state_dict(saved["optimizer"])
    for step in range(BEFORE, AFTER):
        x, y = map(torch.tensor, data(step))
        optimizer.zero_grad()
        ((net(x) - y) ** 2).mean().backward()
        optimizer.step()
    return float(max((end[key] - each).abs().max() for key, each in net.state_dict().items()))


def in_keras(name: str, end: Any) -> float | str:
    """Keras goes on."""
    count = {"iterations": BEFORE} if name == "momentum" else {}
    refused = graft(FOLDER / f"{name}.msgpack", FOLDER / f"{name}.keras", FOLDER / f"{name}-out.keras", **count)
    if refused:
        return refused
    model = keras.models.load_model(FOLDER / f"{name}-out.keras")
    model.run_eagerly = True
    for step in range(BEFORE, AFTER):
        model.train_on_batch(*data(step))
    pairs = [(end[layer], model.get_layer(layer).get_weights()) for layer in LAYERS]
    return max(float(np.abs(np.array(one["kernel"]) - other[0]).max()) for one, other in pairs)


def _steps(net: Any, optimizer: Any, start: int, end: int) -> None:
    for step in range(start, end):
        x, y = map(torch.tensor, data(step))
        optimizer.zero_grad()
        ((net(x) - y) ** 2).mean().backward()
        optimizer.step()


def _from_torch(name: str, net: Any, make: Any, chain: Any) -> float | str:
    optimizer = make(net.parameters())
    _steps(net, optimizer, 0, BEFORE)
    donor = FOLDER / f"{name}-donor.pt"
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict(), "step": BEFORE}, donor)
    weights = _in_jax({key: value.numpy() for key, value in net.state_dict().items()})
    _steps(net, optimizer, BEFORE, AFTER)
    end = _in_jax({key: value.numpy() for key, value in net.state_dict().items()})
    return _in_optax(name, donor, weights, end, chain)


def _from_keras(name: str, model: Any, chain: Any) -> float | str:
    for step in range(BEFORE):
        model.train_on_batch(*data(step))
    donor = FOLDER / f"{name}-donor.keras"
    model.save(donor)
    weights = _of_keras(model)
    for step in range(BEFORE, AFTER):
        model.train_on_batch(*data(step))
    return _in_optax(name, donor, weights, _of_keras(model), chain)


def _of_keras(model: Any) -> Any:
    return {
        layer: dict(zip(("kernel", "bias"), map(np.array, model.get_layer(layer).get_weights()), strict=True))
        for layer in LAYERS
    }


def _in_jax(state: dict[str, Any]) -> Any:
    return {
        layer: {"kernel": state[f"{layer}.weight"].T.copy(), "bias": state[f"{layer}.bias"].copy()} for layer in LAYERS
    }


def _in_optax(name: str, donor: Any, weights: Any, end: Any, chain: Any) -> float | str:
    """JAX goes on from what the donor's state became."""
    target, out = FOLDER / f"{name}{donor.suffix}-t.msgpack", FOLDER / f"{name}{donor.suffix}-o.msgpack"
    tree = {"params": weights, "opt_state": chain.init(weights), "step": 0}
    target.write_bytes(serialization.to_bytes(tree))
    refused = graft(donor, target, out)
    if refused:
        return refused
    tree = serialization.from_bytes(tree, out.read_bytes())
    assert tree["step"] == BEFORE, tree["step"]
    weights, _ = trained(tree["params"], tree["opt_state"], chain, BEFORE, AFTER)
    pairs = [(np.array(weights[layer][part]), end[layer][part]) for layer in LAYERS for part in ("kernel", "bias")]
    return max(float(np.abs(one - other).max()) for one, other in pairs)


def fresh_weights() -> Any:
    """Weights to begin with, in JAX."""
    random = np.random.RandomState(0)
    shapes = {"hidden": (4, 4), "mid": (4, 4), "out": (4, 2)}
    return {
        layer: {"kernel": jnp.array(random.randn(*shape) / 2, "float32"), "bias": jnp.zeros(shape[1])}
        for layer, shape in shapes.items()
    }


def from_optax(name: str, chain: Any, of_k: Any, of_t: Any) -> dict[str, float | str]:
    """JAX begins."""
    weights = fresh_weights()
    weights, state = trained(weights, chain.init(weights), chain, 0, BEFORE)
    saved = serialization.to_bytes({"params": weights, "opt_state": state, "step": BEFORE})
    (FOLDER / f"{name}.msgpack").write_bytes(saved)
    fresh = {"model": of_torch(weights), "optimizer": of_t(Net().parameters()).state_dict()}
    torch.save(fresh, FOLDER / f"{name}.pt")
    keras_net(of_k(), weights).save(FOLDER / f"{name}.keras")
    weights, _ = trained(weights, state, chain, BEFORE, AFTER)
    return {
        f"{name} in torch": in_torch(name, of_t, of_torch(weights)),
        f"{name} in keras": in_keras(name, weights),
    }


def into_optax(name: str, chain: Any, of_k: Any, of_t: Any) -> dict[str, float | str]:
    """PyTorch and Keras begin."""
    weights = fresh_weights()
    net = Net()
    net.load_state_dict(of_torch(weights))
    return {
        f"{name} of torch": _from_torch(name, net, of_t, chain),
        f"{name} of keras": _from_keras(name, keras_net(of_k(), weights), chain),
    }


def main() -> None:
    """All of it."""
    found: dict[str, float | str] = {}
    for name in sys.argv[2:]:
        row = ROWS[name]
        found |= from_optax(name, *row) | into_optax(name, *row)
    sys.stdout.write(json.dumps(found) + "\n")


main()
