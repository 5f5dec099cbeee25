"""`strip` on artifacts of every format: the weights stay bit for bit, and no byte of the optimizer's state does."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.commands import ckptdoctor as command
from support.commands import environment, python
from support.objects import legacy, model, tracked, variables, write_objects

import ckptdoctor
from ckptdoctor.containers.tensors.values import assembled, kept_open
from ckptdoctor.errors import EXIT_INTERRUPTED
from ckptdoctor.state import TrainingState

KINDS = {
    "torch": "torch2.13/adam.pt",
    "torch, legacy stream": "torch1.12/adam-legacy.pt",
    "torch 1.5": "torch1.5/adam.pt",
    "lightning": "torch2.13/lightning.ckpt",
    "lightning 1": "torch1.5/lightning.ckpt",
    "trainer": "torch2.13/trainer/checkpoint-7",
    "accelerate": "torch2.13/accelerate",
    "accelerate, bin": "torch2.13/accelerate-bin",
    "dcp, names": "torch2.13/dcp-names",
    "dcp, numbers": "torch2.13/dcp-plain",
    "keras": "keras/k3.15torch-adam-keras.keras",
    "keras, loss scale": "keras/k3.15torch-lossscale_adam-keras.keras",
    "weights": "keras/k3.15torch-adam-wh5.weights.h5",
    "weights, shards": "keras/k3.15torch-adam-wjson.weights.json",
    "h5": "keras/k3.15torch-adam-h5.h5",
    "h5, keras 1": "keras/k1.2.2-adagrad-h5.h5",
    "checkpoint, names": "tf/v1.12-tf1-adam/model.ckpt-7",
    "checkpoint, partitioned": "tf/v1.15-tf1-adam_partitioned/model.ckpt-7",
    "checkpoint, legacy": "tf/v2.10-tfk-ckpt-adam/ckpt",
    "checkpoint, shards": "tf/v2.10-tfk-ckpt-multishard/ckpt",
    "checkpoint, gan": "tf/v2.11-tfk-ckpt-gan/ckpt",
    "orbax, keras": "orbax-keras3.15-jax/functional",
    "orbax, database": "orbax-jax/adamw",
    "orbax, step": "orbax-jax/manager",
    "orbax, zarr2": "orbax-jax/zarr2",
    "orbax, zarr3": "orbax-jax/zarr3",
    "flax": "flax0.12/adamw.msgpack",
}
BY_NAMES = {"checkpoint, names", "checkpoint, partitioned"}
"""What is left looks like the checkpoint of an optimizer that keeps nothing but `global_step`."""
every_kind = pytest.mark.parametrize("kind", KINDS)


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder, with its digest."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def found_in(museum: Path, kind: str) -> Path:
    """An artifact of the museum; checkpoints of TensorFlow by whichever name they have there."""
    path = museum / KINDS[kind]
    beside = sorted(path.parent.glob(f"{path.name}*.index"))
    return path if path.exists() or not beside else beside[-1].with_suffix("")


def values(state: TrainingState) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """The model's variables."""
    held = [each for each in state.variables if each.tensor.location is not None]
    with kept_open():
        return {each.path: (each.tensor.dtype, each.tensor.shape, assembled(each.tensor).tobytes()) for each in held}


def slots(state: TrainingState) -> list[bytes]:
    """The bytes of every slot that is not the same all over."""
    with kept_open():
        arrays = [assembled(slot.tensor) for each in state.optimizers for slot in each.slots]
    return [each.tobytes() for each in arrays if each.size > 2 and len({*each.ravel().tolist()}) > 2]


@every_kind
def test_weights_stay_and_state_goes(museum: Path, tmp_path: Path, kind: str) -> None:
    """The format is the same, and so is each variable; of the slots not even dead bytes are left."""
    path = found_in(museum, kind)
    before = digests(path.parent)
    out = tmp_path / (path.name.replace("7", "8") if "trainer" in kind else path.name)
    release = ckptdoctor.strip(path, out)
    (old,), (new,) = ckptdoctor.inspect(path), ckptdoctor.inspect(out)
    assert old.state is not None
    assert new.state is not None
    assert new.format == old.format
    assert new.status.value == "absent" or kind in BY_NAMES
    assert values(new.state) == values(old.state) != {}
    assert not any(each.slots or each.other or (each.has_state and kind not in BY_NAMES) for each in new.optimizers)
    assert not new.state.schedulers
    assert release.after < release.before
    written = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    packed = "orbax" in kind  # their bytes are coded: sizes tell
    assert packed or slots(old.state)
    assert not [1 for each in slots(old.state) for content in written if each in content]
    assert digests(path.parent) == before
    assert not list(tmp_path.glob(".*"))


@every_kind
def test_twice_is_refused(museum: Path, tmp_path: Path, kind: str) -> None:
    """What has no optimizer state is said to have none; nothing is written."""
    path = found_in(museum, kind)
    out = tmp_path / "1" / path.name
    out.parent.mkdir()
    ckptdoctor.strip(path, out)
    again = tmp_path / "2" / path.name
    again.parent.mkdir()
    with pytest.raises(ckptdoctor.errors.Refused, match="nothing to strip"):
        ckptdoctor.strip(out, again)
    assert os.listdir(again.parent) == []


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("torch2.13/deepspeed-1", "zero_to_fp32"),
        ("torch2.13/baselines.zip", "model.policy.save"),
        ("torch2.13/skorch", "params.pt"),
        ("torch2.13/safetensors-optimizer.safetensors", "apart from the model"),
        ("torch2.13/safetensors-weights.safetensors", "nothing to strip"),
        ("keras/k3.0jax-adam-vars.pkl", "an optimizer's state alone"),
        ("keras/k3.15tf-adam-npzkeras.keras", "npz"),
        ("tf/v2.10-tfk-sm-legacy_adam/sm", "include_optimizer=False"),
        ("tf/v2.21-k3-ckpt-optimizer_only/ckpt", "only through its optimizer"),
        ("tf/v1.15-tf1-sgd/model.ckpt-7", "nothing to strip"),
    ],
)
def test_what_is_refused(museum: Path, tmp_path: Path, path: str, said: str) -> None:
    """One sentence with the way that is left, and code 4."""
    source = museum / path
    beside = sorted(source.parent.glob(f"{source.name}*.index"))
    result = command(
        "strip",
        source if source.exists() or not beside else beside[-1].with_suffix(""),
        "--output",
        tmp_path / source.name,
    )
    assert (result.code, result.out) == (4, "")
    assert said in result.err
    assert len(result.err.splitlines()) == 1
    assert os.listdir(tmp_path) == []


def test_optimizers_in_lists_and_below(tmp_path: Path) -> None:
    """Of PyTorch's files: lists of optimizers go whole, random numbers too, and everything else stays as it is."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    net = torch.nn.Linear(3, 2)
    one, two = torch.optim.Adam(net.parameters()), torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    for each in (one, two):
        net(torch.ones(1, 3)).sum().backward()
        each.step()
    schedule = torch.optim.lr_scheduler.StepLR(one, 2)
    saved = {
        "model": net.state_dict(), "ema": {"w": torch.ones(2)}, "epoch": 3, "args": {"lr": 0.1},
        "optimizers": [one.state_dict(), two.state_dict()], "trainer": {"schedule": schedule.state_dict(), "best": 0.5},
        "rng_state": torch.get_rng_state(), "numpy_rng": ("MT19937", torch.arange(624), 3), "scaler": {},
    }  # fmt: skip
    for legacy_stream in (False, True):
        torch.save(saved, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy_stream)
        ckptdoctor.strip(tmp_path / "a.pt", tmp_path / "b.pt", overwrite=True)
        left = torch.load(tmp_path / "b.pt", weights_only=True)
        assert list(left) == ["model", "ema", "epoch", "args", "trainer"]
        assert (left["epoch"], left["args"], left["trainer"]) == (3, {"lr": 0.1}, {"best": 0.5})
        assert all(torch.equal(left["model"][name], each) for name, each in net.state_dict().items())


def test_averages_in_a_callback_stay(tmp_path: Path) -> None:
    """Of Lightning's checkpoints callbacks go, but for those that hold weights."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    net = torch.nn.Linear(3, 2)
    adam = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    adam.step()
    for callbacks, kept in (({"Stopping": {"patience": 3}}, False), ({"EMA": {"weights": net.state_dict()}}, True)):
        saved = {
            "pytorch-lightning_version": "2.6.0", "state_dict": net.state_dict(), "callbacks": callbacks,
            "optimizer_states": [adam.state_dict()], "lr_schedulers": [], "loops": {"fit_loop": {}},
            "hyper_parameters": {"optimizer": {}, "random_state": {"seed": 1}}, "epoch": 2,
        }  # fmt: skip
        torch.save(saved, tmp_path / "a.ckpt")
        ckptdoctor.strip(tmp_path / "a.ckpt", tmp_path / "b.ckpt", overwrite=True)
        left = torch.load(tmp_path / "b.ckpt", weights_only=True)
        gone = {"optimizer_states", "lr_schedulers", "loops", *(() if kept else ("callbacks",))}
        assert left.keys() == saved.keys() - gone
        assert left["hyper_parameters"] == saved["hyper_parameters"]


@pytest.mark.parametrize("make", ["state_dict", "mixed list", "whole"])
def test_what_cannot_be_told_apart(tmp_path: Path, make: str) -> None:
    """An optimizer alone, one in a list with other things, one that was pickled whole: refused."""
    torch = pytest.importorskip("torch", exc_type=ImportError)
    net = torch.nn.Linear(3, 2)
    adam = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    adam.step()
    saved: dict[str, Any] = {
        "state_dict": adam.state_dict(),
        "mixed list": {"model": net.state_dict(), "all": [adam.state_dict(), 1]},
        "whole": {"model": net.state_dict(), "trainer": Holder(adam.state_dict())},
    }
    torch.save(saved[make], tmp_path / "a.pt")
    with pytest.raises(ckptdoctor.errors.Refused, match=r"alone|among other things|pickled whole"):
        ckptdoctor.strip(tmp_path / "a.pt", tmp_path / "b.pt")
    assert os.listdir(tmp_path) == ["a.pt"]


class Holder:
    """An object of a program's own that holds an optimizer's state."""

    def __init__(self, state: Any) -> None:
        self.optimizer = state


def test_no_framework_is_loaded(museum: Path, tmp_path: Path) -> None:
    """Neither to strip nor to mend; of what PyTorch saved not even numpy."""
    done = python(
        "-c",
        "import sys, ckptdoctor\n"
        f"ckptdoctor.strip({str(museum / KINDS['torch'])!r}, 'a.pt')\n"
        f"ckptdoctor.repair({str(museum / 'torch2.13/text-indices.pt')!r}, 'b.pt')\n"
        "assert not {'torch', 'numpy', 'h5py', 'rich'} & set(sys.modules)\n"
        f"ckptdoctor.strip({str(museum / KINDS['keras'])!r}, 'a.keras')\n"
        f"ckptdoctor.strip({str(museum / KINDS['orbax, keras'])!r}, 'c')\n"
        "assert not {'tensorflow', 'keras', 'jax', 'orbax', 'tensorstore'} & set(sys.modules)\n",
        cwd=tmp_path,
    )
    assert done.code == 0, done.err


# ------------------------------------------------------------------------------------------------------- the command


def test_text_and_json(museum: Path, tmp_path: Path) -> None:
    """What was written, for people and for programs; an output that exists is refused unless it may be replaced."""
    path, out = museum / KINDS["torch"], tmp_path / "out.pt"
    result = command("strip", path, "--output", out, "--format", "json")
    said = json.loads(result.out)
    assert (result.code, result.err) == (0, "")
    assert (said["schema"], said["format"], said["gone"]) == ("ckptdoctor.strip/1", "torch-checkpoint", ["optimizer"])
    assert said["bytes"] == {"before": path.stat().st_size, "after": out.stat().st_size}
    content = out.read_bytes()
    refused = command("strip", path, "--output", out)
    assert (refused.code, "exists already" in refused.err, out.read_bytes()) == (4, True, content)
    again = command("strip", path, "--output", out, "--overwrite")
    assert (again.code, out.read_bytes()) == (0, content)
    assert "without optimizer state" in again.out
    assert "left out" in again.out
    assert len(command("strip", path, "--output", out, "--overwrite", "-q").out.splitlines()) <= 2


def test_wrong_use(museum: Path, tmp_path: Path) -> None:
    """Nothing there, nothing readable, itself as the output, a name under which nothing would load."""
    path = museum / KINDS["keras"]
    broken = tmp_path / "a.pt"
    broken.write_bytes((museum / KINDS["torch"]).read_bytes()[:-300])
    assert command("strip", tmp_path / "none", "--output", tmp_path / "out").code == 2
    assert command("strip", path).code == 2
    assert command("strip", broken, "--output", tmp_path / "out.pt").code == 3
    copy = shutil.copy(path, tmp_path / "m.keras")
    for out in (copy, tmp_path / "out.h5", tmp_path / "none" / "out.keras"):
        result = command("strip", copy, "--output", out, "--overwrite")
        assert (result.code, len(result.err.splitlines())) == (4, 1)
    assert Path(copy).read_bytes() == path.read_bytes()


# ------------------------------------------------------------------------------------------------ ended from outside


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_at_any_moment(tmp_path: Path, sign: signal.Signals) -> None:
    """OUT is whole or absent, whenever the process is stopped; the next one clears away what it left."""
    net = model({f"layer_{number}/kernel": (1024, 1024) for number in range(5)})
    path = write_objects(tmp_path / "in" / "ckpt-7", tracked(model=net, optimizer=legacy(variables(net))))
    before = digests(tmp_path / "in")
    folder = tmp_path / "out"
    folder.mkdir()

    def stopped(out: Path, delay: float | None) -> int:
        words = [sys.executable, "-m", "ckptdoctor", "strip", str(path), "--output", str(out), "-q"]
        with subprocess.Popen(
            words, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            if delay is not None:
                time.sleep(delay)
                process.send_signal(sign)
            return process.wait(60)

    started = time.monotonic()
    assert stopped(folder / "whole", None) == 0
    took = time.monotonic() - started
    codes = set()
    for step in range(8):
        out = folder / f"out-{step}"
        codes.add(stopped(out, took * (step + 1) / 8))
        if not Path(f"{out}.index").exists():
            assert not list(folder.glob(f"{out.name}*"))
            continue
        (made,) = ckptdoctor.inspect(out)
        assert (made.status.value, len(made.state.variables) if made.state else 0) == ("absent", 5)
    assert codes - {0}, "no signal came in time"
    assert sign != signal.SIGINT or EXIT_INTERRUPTED in codes
    assert stopped(folder / "last", None) == 0
    assert not list(folder.glob(".*"))
    assert digests(tmp_path / "in") == before


def test_no_space_left(museum: Path, tmp_path: Path) -> None:
    """The sentence names the cause, and no file remains."""
    resource = pytest.importorskip("resource")
    for kind in ("torch", "keras", "checkpoint, legacy", "dcp, names", "orbax, step"):
        path = found_in(museum, kind)
        done = subprocess.run(
            [sys.executable, "-m", "ckptdoctor", "strip", str(path), "--output", str(tmp_path / path.name)],
            env={**environment(), "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True, text=True, check=False, timeout=60,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200)),
        )  # fmt: skip
        assert (done.returncode, "file too large" in done.stderr) == (4, True), (kind, done.stderr)
        assert os.listdir(tmp_path) == []
