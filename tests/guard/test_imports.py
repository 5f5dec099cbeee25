"""What a guard loads: the framework that the program has loaded, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import python

FRAMEWORKS = "{'tensorflow', 'keras', 'tf_keras', 'torch', 'jax', 'lightning', 'transformers', 'numpy', 'h5py'}"


def test_importing_it_loads_nothing() -> None:
    """Neither a framework nor what reads artifacts."""
    done = python("-c", f"import sys, ckptdoctor.guard; print(sorted({FRAMEWORKS} & set(sys.modules)))\n"
                        "assert 'ckptdoctor.examination' not in sys.modules")  # fmt: skip
    assert (done.code, done.out) == (0, "[]\n"), done.err


def test_the_package_does_not_load_it() -> None:
    """Who uses no guard does not pay for it."""
    done = python("-c", "import sys, ckptdoctor; assert 'ckptdoctor.guard' not in sys.modules")
    assert done.code == 0, done.err


def test_a_program_of_torch_stays_one(museum: Path) -> None:
    """An artifact of Keras is compared with an optimizer of PyTorch by nobody, and Keras not loaded to say so."""
    pytest.importorskip("torch", exc_type=ImportError)
    path = str(museum / "torch2.13" / "adam.pt")
    done = python("-c", f"""
import sys, torch
from ckptdoctor.errors import NotResumed
from ckptdoctor.guard import assert_resumed
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
optimizer = torch.optim.Adam(model.parameters())
try:
    assert_resumed(optimizer, {path!r}, model=model)
except NotResumed as refused:
    print(refused.lost[0])
optimizer.load_state_dict(torch.load({path!r}, weights_only=True)["optimizer"])
print(assert_resumed(optimizer, {path!r}, model=model).slots)
assert not {{'tensorflow', 'keras', 'tf_keras', 'jax', 'h5py'}} & set(sys.modules)
""")  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.endswith("there\n4\n")


@pytest.mark.parametrize(
    ("guard", "packages"),
    [("keras", "keras tf_keras"), ("lightning", "lightning pytorch_lightning"), ("transformers", "transformers")],
)
def test_a_framework_that_is_not_there(guard: str, packages: str) -> None:
    """One sentence says what is needed."""
    hidden = "".join(f"sys.modules[{each!r}] = None\n" for each in packages.split())
    done = python("-c", f"import sys\n{hidden}import ckptdoctor.guard.{guard}")
    assert done.code == 1
    needed = packages.replace(" ", " or ")
    assert done.err.splitlines()[-1] == f"ImportError: ckptdoctor.guard.{guard} needs {needed}, which is not installed"
