"""Trains with the optimizers of TensorFlow 1 in graph mode, and resumes from grafted checkpoints.

Run as a script:

    python graft_tf1.py train FOLDER     # saves FOLDER/<case>/{full,bare,old}, the truth in truth.npz
    python graft_tf1.py resume FOLDER    # restores FOLDER/<case>/out_*, answers a line of JSON

tests/real/test_graft_tf.py and, in TensorFlow 1.15 under Python 3.7, tests/real/test_old_frameworks.py graft between
the two runs.
"""

from __future__ import annotations

import glob
import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

COMMAND, FOLDER = sys.argv[1:3]
tf = importlib.import_module("tensorflow").compat.v1
BEFORE, AFTER, RATE = 7, 5, 0.01

CASES: dict[str, Callable[[], Any]] = {
    "adam": lambda: tf.train.AdamOptimizer(RATE),
    "momentum": lambda: tf.train.MomentumOptimizer(RATE, 0.9),
    "rms": lambda: tf.train.RMSPropOptimizer(RATE, momentum=0.9),
    "rms_centered": lambda: tf.train.RMSPropOptimizer(RATE, momentum=0.9, centered=True),
    "adagrad": lambda: tf.train.AdagradOptimizer(RATE),
    "adadelta": lambda: tf.train.AdadeltaOptimizer(RATE),
    "ftrl": lambda: tf.train.FtrlOptimizer(RATE),
    "named": lambda: tf.train.AdamOptimizer(RATE, name="my_opt"),
    "scoped": lambda: tf.train.AdamOptimizer(RATE, 0.8),
}


class Graph(NamedTuple):
    """What a training step needs."""

    x: Any
    y: Any
    model: list[Any]
    step: Any
    train: Any


def graph(case: str) -> Graph:
    """A small model and its optimizer, in a new graph."""
    tf.reset_default_graph()
    x, y = tf.placeholder(tf.float32, (None, 3)), tf.placeholder(tf.float32, (None, 1))
    with tf.variable_scope("net"):
        random = tf.random_normal_initializer(seed=1)
        kernel_1 = tf.get_variable("d1/kernel", (3, 4), initializer=random)
        bias_1 = tf.get_variable("d1/bias", (4,), initializer=tf.zeros_initializer())
        kernel_2 = tf.get_variable("d2/kernel", (4, 1), initializer=random)
        bias_2 = tf.get_variable("d2/bias", (1,), initializer=tf.zeros_initializer())
    out = tf.matmul(tf.tanh(tf.matmul(x, kernel_1) + bias_1), kernel_2) + bias_2
    loss = tf.reduce_mean((out - y) ** 2)
    step = tf.train.get_or_create_global_step()
    with tf.variable_scope("train" if case == "scoped" else tf.get_variable_scope()):
        train = CASES[case]().minimize(loss, global_step=step)
    return Graph(x, y, [kernel_1, bias_1, kernel_2, bias_2], step, train)


def run(session: Any, made: Graph, start: int, steps: int) -> None:
    """Trains on the batches of these numbers."""
    for number in range(start, start + steps):
        x = np.random.default_rng(number).normal(size=(8, 3)).astype("float32")
        session.run(made.train, {made.x: x, made.y: x.sum(axis=1, keepdims=True) + 0.1})


def train() -> None:
    """Saves each case whole, its weights alone, and its weights and step as a V1 checkpoint."""
    options = {"write_meta_graph": False, "write_state": False}
    for case in CASES:
        folder = os.path.join(FOLDER, case)
        os.makedirs(folder)
        made = graph(case)
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            run(session, made, 0, BEFORE)
            tf.train.Saver().save(session, os.path.join(folder, "full"), **options)
            tf.train.Saver(made.model).save(session, os.path.join(folder, "bare"), **options)
            v1 = tf.train.Saver([*made.model, made.step], write_version=tf.train.SaverDef.V1)
            v1.save(session, os.path.join(folder, "old"), **options)
            run(session, made, BEFORE, AFTER)
            np.savez(os.path.join(folder, "truth.npz"), *session.run(made.model))


def resume() -> None:
    """Restores each grafted checkpoint by a Saver, which wants every variable of the graph, and trains on."""
    answers: dict[str, list[float]] = {}
    for case in CASES:
        with np.load(os.path.join(FOLDER, case, "truth.npz")) as truth:
            wanted = [truth[name] for name in truth.files]
        for index in sorted(glob.glob(os.path.join(FOLDER, case, "out_*.index"))):
            made = graph(case)
            with tf.Session() as session:
                tf.train.Saver().restore(session, index[:-6])
                step = int(session.run(made.step))
                run(session, made, BEFORE, AFTER)
                found = session.run(made.model)
            difference = max(float(np.abs(each - wanted[place]).max()) for place, each in enumerate(found))
            answers[f"{case}/{os.path.basename(index)[:-6]}"] = [step, difference]
    sys.stdout.write(json.dumps(answers) + "\n")


if __name__ == "__main__":
    tf.disable_eager_execution()
    tf.logging.set_verbosity(tf.logging.ERROR)
    {"train": train, "resume": resume}[COMMAND]()
