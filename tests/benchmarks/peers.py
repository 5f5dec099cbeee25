"""`ckptdoctor` beside the tools that people use today, and beside what no program can be faster than, in one run.

    python tests/benchmarks/peers.py [--rounds 5] [--only NAME] [--json FILE]

A round runs ckptdoctor and every peer of an input once, one after the other; the next round does so again. A busy
machine then slows all of them, and a ratio within a round says more than seconds do: what is printed is the ratio of
the fastest runs, and from which to which it went over the rounds. Peers that are not installed are left out, with
the reason. Inputs are generated, or lie in fixtures/.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from processes import ROOT, Run, made, run, table

_LIST = "import tensorflow as tf; tf.train.list_variables({path!r})"
_EDITOR = "import keras; keras.saving.KerasFileEditor({path!r}).summary()"
_WALK = """
import h5py
def visit(name, item):
    list(item.attrs)
    if isinstance(item, h5py.Dataset):
        item.shape, item.dtype
with h5py.File({path!r}, "r") as file:
    file.visititems(visit)
"""


_TORCH = "import torch; torch.load({path!r}, weights_only=True, mmap=True)"
_DCP = "from torch.distributed.checkpoint import FileSystemReader; FileSystemReader({path!r}).read_metadata()"
_SAFE = """
from safetensors import safe_open
with safe_open({path!r}, "np") as file:
    for key in file.keys():
        file.get_slice(key).get_shape()
"""
_FLAX = "import flax.serialization as s; s.msgpack_restore(open({path!r}, 'rb').read())"
_ORBAX = "import orbax.checkpoint as ocp; ocp.PyTreeCheckpointer().metadata({path!r})"


class Peer(NamedTuple):
    """Another program on the same input.

    Attributes:
        name: As the table shows it.
        words: The command, after the interpreter's path where it begins with an option; `{path}` is the input.
        needs: The module or the program that it takes; "" for none.
        slow: It takes seconds and varies less: three rounds are enough.
        goal: The ratio that is aimed at, if there is one.
    """

    name: str
    words: tuple[str, ...]
    needs: str = ""
    slow: bool = False
    goal: float | None = None


class Case(NamedTuple):
    """An input, our command on it, and its peers.

    Attributes:
        name: As the table shows it.
        make: The function in inputs.py that writes the input; or its path in fixtures/; or SCRIPT:FUNCTION.
        peers: Who else reads it.
        command: What ckptdoctor is asked.
        of: What is given to the peers, where that is not the input itself: a file of it.
    """

    name: str
    make: str
    peers: tuple[Peer, ...]
    command: tuple[str, ...] = ("inspect",)
    of: str = "{path}"


def _python(name: str, code: str, needs: str = "", *, slow: bool = False, goal: float | None = None) -> Peer:
    return Peer(name, ("-c", code), needs, slow, goal)


def _torch(goal: float) -> tuple[Peer, ...]:
    return (_python("torch.load(mmap=True)", _TORCH, "torch", slow=True, goal=goal),)


_INTERPRETER = (
    Peer("floor: python -I -S -c pass", ("-I", "-S", "-c", "pass")),
    Peer("floor: python -c pass", ("-c", "pass")),
)
_TENSORFLOW = (
    _python("tf.train.list_variables", _LIST, "tensorflow", slow=True),
    Peer(
        "inspect_checkpoint",
        ("-m", "tensorflow.python.tools.inspect_checkpoint", "--file_name={path}", "--all_tensor_names"),
        "tensorflow",
        slow=True,
    ),
)
_READ_METADATA = _python("FileSystemReader.read_metadata", _DCP, "torch", slow=True)
_SHOW = ("-m", "tensorflow.python.tools.saved_model_cli", "show", "--dir", "{path}", "--all")
_H5PY = _python("floor: import h5py", "import h5py", "h5py")
CASES = (
    Case(
        "small TF checkpoint",
        "small",
        (*_TENSORFLOW, *_INTERPRETER, _python("floor: import click", "import click", goal=1.8)),
    ),
    Case("90,000 tensors, by name", "many_names", (_TENSORFLOW[0]._replace(goal=1 / 10), _TENSORFLOW[1])),
    Case("90,000 tensors, by object", "many_objects", (_TENSORFLOW[0]._replace(goal=1 / 6), _TENSORFLOW[1])),
    Case("SavedModel", "fixtures/savedmodel", (Peer("saved_model_cli show --all", _SHOW, "tensorflow", slow=True),)),
    Case(
        "whole model in HDF5",
        "whole_h5",
        (
            Peer("h5dump -A", ("h5dump", "-A", "{path}"), "h5dump"),
            Peer("h5ls -r -v", ("h5ls", "-r", "-v", "{path}"), "h5ls"),
            _python("h5py, every name", _WALK, "h5py"),
            _H5PY,
        ),
    ),
    Case("small .keras", "fixtures/keras3.keras", (_python("KerasFileEditor", _EDITOR, "keras", slow=True), _H5PY)),
    Case("400 MB .keras", "large_archive", (_python("KerasFileEditor", _EDITOR, "keras", slow=True), _H5PY)),
    Case("small file of torch.save", "torch_inputs.py:small_torch", _torch(1 / 12)),
    Case("2 GB file of torch.save", "torch_inputs.py:torch_2_gb", _torch(1 / 12)),
    Case("30,000 tensors, torch.save", "torch_inputs.py:many_torch", _torch(1 / 6)),
    Case(
        "30,000 tensors, legacy torch.save",
        "torch_inputs.py:many_legacy",
        (_python("torch.load", _TORCH.replace(", mmap=True", ""), "torch", slow=True, goal=1 / 6),),
    ),
    Case("small distributed checkpoint", "torch_inputs.py:small_distributed", (_READ_METADATA._replace(goal=1 / 12),)),
    Case("10,000 tensors, distributed", "torch_inputs.py:many_distributed", (_READ_METADATA,)),
    Case(
        "30,000 tensors, safetensors",
        "torch_inputs.py:many_safetensors",
        (_python("safe_open, every shape", _SAFE, "safetensors", goal=1.5),),
    ),
    Case(
        "30,000 arrays, Orbax",
        "torch_inputs.py:many_orbax",
        (_python("PyTreeCheckpointer.metadata", _ORBAX, "orbax", slow=True, goal=1 / 20),),
    ),
    Case(
        "30,000 arrays, flax",
        "torch_inputs.py:many_flax",
        (_python("msgpack_restore", _FLAX, "flax", goal=1 / 4),),
    ),
    Case(
        "1 GB TF checkpoint, every byte",
        "trained_checkpoint",
        (
            Peer("floor: cat", ("cat", "{path}")),
            Peer("floor: cp", ("cp", "{path}", "{path}.copy")),
        ),
        ("check", "--deep"),
        "{path}.data-00000-of-00001",
    ),
)


class Measured(NamedTuple):
    """A case and one peer; no runs of a peer that is not here."""

    case: Case
    peer: Peer
    ours: list[Run]
    theirs: list[Run]


def measure(case: Case, path: str, rounds: int) -> list[Measured]:
    """Runs a case and its peers in turn."""
    command = [sys.executable, "-m", "ckptdoctor", *case.command, "--format", "json", path]
    here = [peer for peer in case.peers if is_here(peer)]
    words = {peer: _words(peer, case.of.format(path=path)) for peer in here}
    found = {peer: Measured(case, peer, [], []) for peer in case.peers}
    for each in (command, *(words[peer] for peer in here if not peer.slow)):
        run(each)  # byte code and disk cache
    for number in range(rounds):
        ours = run(command)
        for peer in here:
            if number < 3 or not peer.slow:
                found[peer].ours.append(ours)
                found[peer].theirs.append(run(words[peer]))
    return list(found.values())


def is_here(peer: Peer) -> bool:
    """Whether a peer can be run."""
    return not peer.needs or bool(shutil.which(peer.needs) or importlib.util.find_spec(peer.needs))


def _words(peer: Peer, path: str) -> list[str]:
    words = [word.format(path=path) for word in peer.words]
    return [sys.executable, *words] if words[0].startswith("-") else words


def figures(each: Measured) -> dict[str, object]:
    """A case and a peer as JSON."""
    return {
        "case": each.case.name,
        "command": " ".join(each.case.command),
        "peer": each.peer.name,
        "needs": each.peer.needs,
        "goal": each.peer.goal,
        "ours": [one._asdict() for one in each.ours],
        "theirs": [one._asdict() for one in each.theirs],
    }


def ratio(value: float) -> str:
    """1/31, or 1.8."""
    return f"1/{1 / value:.1f}" if value < 0.95 else f"{value:.2f}"


def row(each: dict[str, object]) -> list[str]:
    """A row of the table, from a case's figures."""
    ours, theirs = ([Run(**one) for one in each[whose]] for whose in ("ours", "theirs"))  # type: ignore[attr-defined]
    head = [str(each["case"]), str(each["peer"])]
    if not theirs:
        return [*head, "", f"{each['needs']} is not installed", "", "", "", "", ""]
    spread = sorted(one.seconds / other.seconds for one, other in zip(ours, theirs, strict=True))
    fastest = min(ours).seconds / min(theirs).seconds
    work = min(one.processor for one in ours) / max(0.001, min(one.processor for one in theirs))
    return [
        *head,
        f"{min(ours).seconds:.2f} s",
        f"{min(theirs).seconds:.2f} s",
        ratio(fastest),
        aimed(each.get("goal"), fastest),
        f"{ratio(spread[0])} … {ratio(spread[-1])}",
        ratio(work),
        f"{max(one.megabytes for one in ours):,.0f} / {max(one.megabytes for one in theirs):,.0f} MB",
    ]


def aimed(goal: Any, reached: float) -> str:
    """The ratio that is aimed at, and whether it is reached."""
    return "" if goal is None else f"{ratio(goal)}: {'met' if reached <= goal else 'missed'}"


HEAD = ["input", "peer", "ckptdoctor", "peer's time", "ratio", "goal", "in the rounds", "of processor time", "peak"]


def main() -> None:
    """Measures and prints a table, in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each input (default: 5)")
    parser.add_argument("--only", default="", help="inputs whose name contains this")
    parser.add_argument("--json", help="write the figures here too")
    options = parser.parse_args()
    found: list[dict[str, object]] = []
    for case in CASES:
        if options.only in case.name:
            with tempfile.TemporaryDirectory(prefix="ckptdoctor-") as folder:
                script, _, function = case.make.rpartition(":")
                if script and not is_here(case.peers[0]):  # who writes the input as well
                    own = [figures(Measured(case, peer, [], [])) for peer in case.peers]
                else:
                    inside = "/" in case.make
                    path = str(ROOT / case.make) if inside else made(script or "inputs.py", function, folder)
                    own = [figures(each) for each in measure(case, path, options.rounds)]
            found += own
            sys.stderr.write("".join(" | ".join(row(each)) + "\n" for each in own))
            if options.json:  # at once: the whole takes minutes
                Path(options.json).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(table([HEAD, *map(row, found)]))


if __name__ == "__main__":
    main()
