"""Declared optimizers and layers against tensorflow_addons and tfmot themselves, of TensorFlow 2.10.

A run of its own, as test_old_frameworks.py, whose environments it shares. What they train and save is grafted into
models without that state, which they load by their public calls and train on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.frameworks import child, made_environment

import ckptdoctor
from ckptdoctor.errors import GraftRefused
from ckptdoctor.optimizers import declared
from ckptdoctor.optimizers.catalogue import Layout, layouts
from ckptdoctor.optimizers.declared import around
from ckptdoctor.optimizers.keras.config import read_config
from ckptdoctor.optimizers.lists.layout import Trained, expand, settings_to_try
from ckptdoctor.state import Generation

pytestmark = pytest.mark.oldframeworks

CHILD = "declared_child.py"
STEPS = 7
VISIBLE = 1e-4
"""How far a run with a fresh optimizer is away at least."""
WITHOUT_DEFAULTS = {"AdamW", "ConditionalGradient", "LAMB", "SGDW"}
"""Classes with arguments that have no default, or lists: only a target that is compiled can say them."""
AROUND = {"Lookahead", "Lookahead Yogi", "MovingAverage", "SWA"}
REFUSED = {(case, target) for case in AROUND for target in ("bare.h5", "bare")}
REFUSED |= {(case, "bare.h5") for case in WITHOUT_DEFAULTS}
REFUSED |= {("NovoGrad amsgrad", "fresh.h5")}
"""Its configuration leaves amsgrad out (`NovoGrad.get_config`): the framework would load no state of it."""
STATELESS = {"ConditionalGradient"}
"""What it keeps is overwritten by every step before it is used."""


@pytest.fixture(scope="module")
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter with tensorflow_addons and tfmot."""
    if "oldframeworks" not in request.config.option.markexpr:
        pytest.skip("downloads gigabytes; asked for by -m oldframeworks")
    kept = os.environ.get("CKPTDOCTOR_TEST_ENVS")
    return made_environment(Path(kept) if kept else tmp_path_factory.mktemp("environments"), "tfa0.20")


def test_grafts_go_on(python: str, tmp_path: Path) -> None:
    """Training from every graft ends with the weights of the run that was never interrupted, bit for bit."""
    child(CHILD, "make", tmp_path, python=python)
    jobs: list[list[str]] = []
    for folder in sorted(tmp_path.iterdir()):
        for donor in ("donor.h5", "donor"):
            for target in ("bare.h5", "fresh.h5", "bare"):
                if (folder.name, target) in REFUSED:
                    with pytest.raises(GraftRefused):
                        ckptdoctor.graft(folder / donor, folder / target, folder / "none")
                elif (folder.name, donor, target) != ("COCOB", "donor", "bare.h5"):  # it has no learning rate to tell
                    output = folder / f"{donor.partition('.')[2] or 'ckpt'}-{target}"
                    ckptdoctor.graft(folder / donor, folder / target, output)
                    jobs.append([f"{folder.name}: {output.name}", folder.name, str(output)])
    found: dict[str, dict[str, Any]] = child(CHILD, "resume", tmp_path, given=jobs, python=python)
    fresh = {key: each["away"] for key, each in found.items() if key.endswith(" fresh")}
    assert {key for key, away in fresh.items() if away < VISIBLE} == {f"{case} fresh" for case in STATELESS}
    resumed = {key: each for key, each in found.items() if key not in fresh}
    assert len(resumed) == len(jobs) > 80
    assert {key: each for key, each in resumed.items() if each["count"] != STEPS or each["away"] != 0} == {}


def test_declarations_are_true(python: str, tmp_path: Path) -> None:
    """The state variables of each class, in their order, its settings in variables, and its defaults."""
    found: Mapping[str, Any] = child(CHILD, "describe", tmp_path, python=python)
    assert {each["class"] for each in found.values()} == {each.layout.class_name for each in declared.every()}
    for case, each in found.items():
        (said,) = declared.of(each["class"])
        config = read_config({"class_name": each["class"], "config": {"name": "x", **each["config"]}})
        assert config is not None
        trained = [Trained(f"{name}/{last}", shape) for name in ("hidden", "out") for last, shape in LAST]
        kept: tuple[Layout, ...] = layouts(config.class_name, Generation.OPTIMIZER_V2)
        kept = around(config.wrapper, kept)
        assert any(
            _names(layout, trained, settings) == [name.partition("/")[2] or name for name, _ in each["weights"]]
            for layout in kept
            for settings in settings_to_try(layout, config.settings)
        ), case
        if not said.wraps:
            assert [hyper.name for hyper in said.layout.hypers] == each["hypers"], case
        assert not said.defaults or set(said.defaults) >= set(each["config"]) - {"name"}, case


LAST = (("kernel", (4, 4)), ("bias", (4,)))


def _names(layout: Layout, trained: list[Trained], settings: Any) -> list[str]:
    """What the framework calls what a layout predicts, without the optimizer's name."""
    expected = expand(layout, trained, settings)
    return [
        f"{trained[each.variable].path}/{each.kind.name}:0" if each.variable is not None else "iter:0"
        for each in expected
    ]
