"""What users declare of their own optimizers: read, checked, put in order, and believed of nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.commands import ROOT, ckptdoctor
from support.whole_models import layer, save, sequential

from ckptdoctor.declarations.chosen import Source, source, use
from ckptdoctor.diagnosis.status import artifact_status
from ckptdoctor.errors import UsageProblem
from ckptdoctor.formats.keras import declared as layers
from ckptdoctor.optimizers import declared
from ckptdoctor.optimizers.catalogue import Extent, PerVariable, Single, layouts
from ckptdoctor.state import Generation, Role, Status, TrainingState

V2, K3 = Generation.OPTIMIZER_V2, Generation.KERAS3
MINE = """
[declare.optimizers.Mine]
generations = ["optimizer-v2", "keras3"]
slots = [
  [{ name = "slow", attribute = "_slow" }, { name = "fast", when = "dual" }],
  { single = "step_size" },
  { name = "norm", role = "second_moment", shape = "scalar", start = "initial_norm" },
]
variables = ["learning_rate", { name = "b", setting = "beta" }]
defaults = { learning_rate = 0.5, beta = 0.9, dual = true }
"""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """No file of declarations counts after a test."""
    before = source()
    yield
    use(before)


def _declare(folder: Path, text: str) -> Path:
    path = folder / "ckptdoctor.toml"
    path.write_text(text)
    use(Source(str(path)))
    return path


def test_a_class(tmp_path: Path) -> None:
    """A declaration becomes a record of the catalogue, one for each generation."""
    assert declared.of("Mine") == ()
    _declare(tmp_path, MINE)
    (layout,), (other,) = layouts("Mine", V2), layouts("Mine", K3)
    assert layout._replace(generation=K3) == other
    assert layouts("Mine", Generation.KERAS2) == ()
    pair, single, norm = layout.blocks
    assert isinstance(pair, PerVariable)
    assert isinstance(norm, PerVariable)
    assert [(kind.name, kind.role, kind.when) for kind in pair.kinds] == [
        ("slow", Role.OTHER, ""),
        ("fast", Role.OTHER, "dual"),
    ]
    assert single == Single("step_size")
    assert (norm.kinds[0].extent, norm.kinds[0].start) == (Extent.SCALAR, "initial_norm")
    assert [(each.name, each.setting) for each in layout.hypers] == [("b", "beta"), ("learning_rate", "learning_rate")]


def _class(text: str) -> str:
    return f'[declare.optimizers.Mine]\ngenerations = ["keras3"]\n{text}'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("declare = 3", "declare should be a table with optimizers and layers"),
        ("[declare.optimizer.Mine]", "declare has no 'optimizer': did you mean 'optimizers'?"),
        ("declare.optimizers = 3", "declare.optimizers should be a table of classes"),
        ("declare.optimizers.Mine = 3", "Mine should be a table, or a list of tables"),
        ("[declare.optimizers.Mine]", "generations should name some of keras1, optimizer-v2, keras2, keras3"),
        ('[declare.optimizers.Mine]\ngenerations = ["tf1"]', "should be one of keras1, optimizer-v2, keras2, keras3"),
        ('[declare.optimizers."Mine>It"]\ngenerations = ["keras3"]', "should be named as the class is"),
        ('[declare.optimizers.Adam]\ngenerations = ["keras3"]', "is Adam of keras3, which the catalogue has"),
        (_class("slot = []"), "Mine has no 'slot': did you mean 'slots'?"),
        (_class("slots = 3"), "slots should be a list, not 3"),
        (_class("slots = [3]"), r"slots\[0\] should be a table with name, role"),
        (_class("slots = [{}]"), r"slots\[0\].name should be a text"),
        (_class('slots = [{ name = "m", role = "x" }]'), r"slots\[0\].role should be one of first_moment, .* not 'x'"),
        (_class('slots = [{ name = "m", shape = "x" }]'), "shape should be one of variable, scalar, rows, columns"),
        (_class('slots = [{ name = "m", start = true }]'), "start should be a number, the name of a setting, or"),
        (_class('slots = [{ name = "m", nam = "m" }]'), "has no 'nam': did you mean 'name'?"),
        (_class('slots = [{ name = "m" }, { name = "m" }]'), "slots has the name 'm' twice"),
        (
            _class('slots = [{ name = "a", role = "momentum" }, { name = "b", role = "momentum" }]'),
            "slots has the role 'momentum' twice",
        ),
        (_class("variables = [3]"), r"variables\[0\] should be a text, or a table with name, setting and as-given"),
        (_class("defaults = 3"), "defaults should be a table of arguments"),
        (_class('wraps = "inner"'), "wraps is for optimizer-v2 alone"),
        (_class("name = 3"), "name should be a text, not 3"),
        (f"{_class('')}\n[declare.layers.Mine]", "declare.layers.Mine has no untrained: name the weights"),
        ('[declare.layers.Mine]\nuntrained = "all"', "untrained should be a list of texts, not 'all'"),
        ("[declare.layers.Mine]\nuntrained = []\nweigths = []", "has no 'weigths': did you mean 'weights'?"),
        ("a = [", "the configuration is not TOML"),
    ],
)
def test_what_is_wrong(tmp_path: Path, text: str, complaint: str) -> None:
    """A wrong declaration is one sentence: the file, the key, what is allowed. Exit code 2."""
    path = _declare(tmp_path, text)
    with pytest.raises(UsageProblem, match=complaint) as caught:
        (declared.of("Yogi"), layers.layer("Yogi"))
    assert str(caught.value).startswith(f"{path}: ")
    assert caught.value.exit_code == 2


def test_the_page(tmp_path: Path) -> None:
    """What docs/declare.md shows is a declaration, and what it lists are the keys and roles that there are."""
    page = (ROOT / "docs" / "declare.md").read_text(encoding="utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0].replace("tool.ckptdoctor.", "")
    _declare(tmp_path, example)
    assert [each.layout.generation for each in declared.of("Sophia")] == [Generation.KERAS2, K3]
    found = layers.layer("Codebook")
    assert found is not None
    assert [found.is_untrained(each) for each in ("usage", "ema_mean", "codes")] == [True, True, False]
    assert {each.value for each in Role if f"`{each.value}`" not in page} == set()
    words = ("generations", "registered", "wraps", "below-2d", "as-given", "untrained", "weights", "single")
    assert [each for each in words if each not in page] == []


def test_twice(tmp_path: Path) -> None:
    """A list of tables is for generations that differ."""
    one = "[[declare.optimizers.Mine]]\ngenerations = ['{}']\nslots = [{{ name = '{}' }}]\n"
    _declare(tmp_path, one.format("keras2", "m") + one.format("keras3", "momentum"))
    assert [each.layout.kinds[0].name for each in declared.of("Mine")] == ["m", "momentum"]
    (tmp_path / "b").mkdir()
    _declare(tmp_path / "b", one.format("keras3", "m") + one.format("keras3", "momentum"))
    with pytest.raises(UsageProblem, match="Mine is declared twice for keras3"):
        declared.of("Mine")


# ---------------------------------------------------------------------------------------------------- whose word counts


def _installed(folder: Path, name: str, text: str, value: str = "{}:ckptdoctor.toml") -> None:
    """A package that is installed, with an entry point, and that must not be imported."""
    package, info = folder / name, folder / f"{name}-1.0.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('it was imported')")
    (package / "ckptdoctor.toml").write_text(text)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[ckptdoctor.optimizers]\n{name} = {value.format(name)}\n")


def _slots(class_name: str) -> list[str]:
    return [kind.name for each in declared.of(class_name) for kind in each.layout.kinds]


def _yogi(slot: str) -> str:
    return f'[declare.optimizers.Yogi]\ngenerations = ["optimizer-v2"]\nslots = [{{ name = "{slot}" }}]\n'


def test_who_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's file before a package's before ours; of two packages that differ, only the user's file can say."""
    assert _slots("Yogi") == ["v", "m"]
    monkeypatch.syspath_prepend(tmp_path / "a")
    _installed(tmp_path / "a", "first_addons", _yogi("packaged"))
    use(Source(start=str(tmp_path)))
    assert _slots("Yogi") == ["packaged"]
    assert "first_addons" not in sys.modules
    monkeypatch.syspath_prepend(tmp_path / "b")
    _installed(tmp_path / "b", "second_addons", _yogi("other"))
    use(Source())
    with pytest.raises(UsageProblem, match=r"declare.optimizers.Yogi is not what .* declares: say which"):
        _slots("Yogi")
    _declare(tmp_path, _yogi("mine"))
    assert _slots("Yogi") == ["mine"]


def test_an_entry_point_to_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry point has to name a file."""
    monkeypatch.syspath_prepend(tmp_path)
    _installed(tmp_path, "third_addons", "", "{}.optimizers:Yogi")
    use(Source(start=str(tmp_path)))
    with pytest.raises(UsageProblem, match=r"names 'third_addons.optimizers:Yogi', which is no file"):
        declared.of("Yogi")


# ----------------------------------------------------------------------------------------------------------- artifacts

SHAPES = {"hidden/kernel": (3, 4), "hidden/bias": (4,), "out/kernel": (4, 2), "out/bias": (2,)}
MODEL = sequential(layer("hidden"), layer("out"))


def _artifact(folder: Path, *kinds: str, lost: str = "", **config: Any) -> TrainingState:
    groups = {
        name: {f"{path}:0": shape for path, shape in SHAPES.items() if path.startswith(name)}
        for name in ("hidden", "out")
    }
    slots: dict[str, Any] = {f"Mine/{path}/{kind}:0": shape for kind in kinds for path, shape in SHAPES.items()}
    slots.pop(lost, None)
    state: dict[str, Any] = {"Mine/iter:0": np.int64(7), **slots}
    optimizer = {"class_name": "lab>Mine", "config": {"name": "Mine", "learning_rate": 0.1, **config}}
    return save(folder / "m.h5", groups, model=MODEL, optimizer=optimizer, state=state)


TWO = _class('slots = [{ name = "exp" }, { name = "hess", when = "second" }]').replace("keras3", "optimizer-v2")


@pytest.mark.parametrize(
    ("kinds", "config", "lost", "status"),
    [
        (("exp", "hess"), {"second": 0.5}, "", Status.COMPLETE),
        (("exp",), {"second": 0.0}, "", Status.COMPLETE),
        (("exp",), {"second": True}, "", Status.PARTIAL),
        (("exp",), {}, "Mine/out/bias/exp:0", Status.PARTIAL),
    ],
)
def test_what_is_missing(
    tmp_path: Path, kinds: tuple[str, ...], config: dict[str, Any], lost: str, status: Status
) -> None:
    """A declared class misses what its settings ask for; of one that is not declared only gaps are told."""
    undeclared = _artifact(tmp_path, *kinds, lost=lost, **config)
    assert "is not in the catalogue" in undeclared.optimizers[0].notes[0]
    _declare(tmp_path, TWO)
    state = _artifact(tmp_path, *kinds, lost=lost, **config)
    assert state.optimizers[0].notes == ()
    assert artifact_status(state) is status


def test_a_class_that_nobody_declares_stays_unknown(tmp_path: Path) -> None:
    """Declarations say nothing of classes that they do not name, whatever these keep."""
    _declare(tmp_path, TWO.replace("Mine", "Another"))
    (found,) = _artifact(tmp_path, "exp").optimizers
    assert found.missing == ()
    assert "Mine is not in the catalogue" in found.notes[0]


def test_a_layer(tmp_path: Path) -> None:
    """Which of a layer's weights are trained is unknown, and then what is declared; every other layer's stays so."""
    groups: dict[str, Any] = {"scale": {"scale/gain:0": (4,), "scale/seen_1:0": (4,)}, "other": {"other/gain:0": (4,)}}
    model = sequential(layer("scale", "lab>Scale"), layer("other", "lab>Other"))

    def trained() -> list[bool | None]:
        return [each.trainable for each in save(tmp_path / "m.h5", groups, model=model).variables]

    assert trained() == [None, None, None]
    _declare(tmp_path, '[declare.layers.Scale]\nuntrained = ["seen*"]\n')
    assert trained() == [True, False, None]


def test_the_commands(tmp_path: Path) -> None:
    """Each command reads the nearest file, also in the process that reads HDF5; check takes another, or none."""
    _artifact(tmp_path, "exp", second=True)
    inside = tmp_path / "deep" / "inside"
    inside.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(TWO.replace("[declare", "[tool.ckptdoctor.declare"))
    path = str(tmp_path / "m.h5")
    for command in (["inspect", path], ["check", path]):
        done = ckptdoctor(*command, "-q", cwd=inside)
        assert "no full Mine state" in done.out, done
    assert ckptdoctor("check", "--no-config", path, cwd=inside).code == 0
    (tmp_path / "other.toml").write_text(TWO.replace("hess", "exp2").replace('when = "second"', 'when = "never"'))
    assert ckptdoctor("check", "--config", str(tmp_path / "other.toml"), path, cwd=inside).code == 0
    (tmp_path / "pyproject.toml").write_text("[tool.ckptdoctor.declare.layer]")
    graft = ["graft", "--from", path, "--into", path, "--output", "o.h5"]
    for command in (["inspect", path], ["check", path], ["diff", path, path], graft, ["verify", path]):
        done = ckptdoctor(*command, cwd=inside)
        assert done.code == 2, (command, done)
        assert "pyproject.toml: declare has no 'layer': did you mean 'layers'?" in done.err
