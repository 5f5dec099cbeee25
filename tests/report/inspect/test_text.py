"""The report on a terminal: the verdict first, and nothing raw from a file."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pytest
from support.bundles import array, write_bundle
from support.objects import Node, legacy, model, tracked, variable, variables, write_model, write_objects

from ckptdoctor.containers.bundles.object_graph import GRAPH_KEY
from ckptdoctor.containers.bundles.reading import read_bundle
from ckptdoctor.examination import Examination, examine
from ckptdoctor.report.inspect import text
from ckptdoctor.report.inspect.tensor_rows import tensor_rows
from ckptdoctor.report.shared.escape import printable
from ckptdoctor.report.shared.facts import brief, figure, human_bytes, shape_text
from ckptdoctor.report.shared.folding import hint_rows, name_rows
from ckptdoctor.words import counted

LAYER = "bi/forward_lstm/lstm_cell_1"
NASTY = ["\x1b[31mred", "line\nbreak", "\r", "\t", "\x07", "\x9b31m", "\u202eevil", "\u200b", "\0", "\x7f", "\u2028"]
MARKUP = ["[bold]x[/bold]", "[red", "[/]", ":smile:", "{x}", "\\[", "[link=http://x]y[/link]"]


def _report(path: str, **options: bool) -> str:
    found: list[Examination] = list(examine(path, stats=options.get("stats", False)))
    return text.render(found, color=False, **options)


def test_the_verdict_comes_first(tmp_path: Path) -> None:
    """The first line names the artifact and says what to act on."""
    prefix = write_model(tmp_path / "p", iterations=7524)
    assert _report(prefix).splitlines()[0] == f"{prefix}: resumes at iteration 7,524 with full Adam state"


def test_facts(tmp_path: Path) -> None:
    """Format, model, optimizer, count, settings and slots are there."""
    shown = _report(write_model(tmp_path / "p"))
    assert re.search(r"format +TensorFlow checkpoint", shown)
    assert re.search(r"model +4 variables, 84 B", shown)
    assert re.search(r"optimizer +Adam.*, tf\.keras up to 2\.10", shown)
    assert re.search(r"iterations +7", shown)
    assert re.search(r"m +first moment +4 of 4 +84 B", shown)


def test_quiet(tmp_path: Path) -> None:
    """With --quiet one line an artifact remains."""
    assert len(_report(write_model(tmp_path / "p"), quiet=True).splitlines()) == 1


@pytest.mark.parametrize("name", NASTY)
def test_names_from_files(tmp_path: Path, name: str) -> None:
    """Control characters, bidirectional marks and line ends of names never reach the terminal."""
    net = Node({name: variable([1.0], f"{name}/kernel"), "b": variable([1.0], f"{name}/bias")})
    optimizer = legacy([variables(net)[0]], slots=["m", name])
    root = tracked(
        model=net, optimizer=tracked(inner=optimizer), counts=tracked(epoch=variable(array(1, "int64"), name))
    )
    shown = _report(write_objects(tmp_path / "p", root), tensors=True, stats=True)
    assert all(char.isprintable() or char == "\n" for char in shown)
    assert printable(name).rstrip() in shown.replace("\n", "")
    assert printable(name) != name


def test_names_of_slots_beside_figures(tmp_path: Path) -> None:
    """One that is longer than a label stands apart from what is drawn; what has no end is cut."""
    net = model({"w": (2,)})
    slots = ["m", "max_exp_avg_sq", "x" * 2000]
    root = tracked(model=net, optimizer=legacy(variables(net), slots=slots))
    shown = _report(write_objects(tmp_path / "p", root), stats=True)
    assert re.search(r"^  m            [▁-█]", shown, re.MULTILINE)
    assert re.search(r"^  max_exp_avg_sq [▁-█]", shown, re.MULTILINE)
    assert re.search(r"^  x{29}… [▁-█]", shown, re.MULTILINE)


@pytest.mark.parametrize("name", MARKUP)
def test_markup_is_text(tmp_path: Path, name: str) -> None:
    """What looks like markup of rich is shown as it is."""
    shown = _report(
        write_bundle(tmp_path / "p", {f"{name}/w": array([1.0]), "global_step": array(7, "int64")}), tensors=True
    )
    assert f"{name}/w" in shown


@pytest.mark.parametrize("name", ["[bold]p", "p\x1b[31m", "new\nline"])
def test_paths_are_text(tmp_path: Path, name: str) -> None:
    """Paths are escaped as names are."""
    prefix = write_model(tmp_path / name)
    first = _report(prefix).splitlines()[0]
    assert first.startswith(printable(prefix))
    assert "resumes at" in first


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_width(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    """No line but a command is wider than the terminal, and at 80 columns the tables keep to one line a row."""
    monkeypatch.setenv("COLUMNS", columns)
    net = model({f"block_{number}/attention/query/kernel": (64, 64) for number in range(3)})
    prefix = write_objects(tmp_path / "p", tracked(model=net, optimizer=legacy(variables(net)[:2])))
    shown = _report(prefix, tensors=True)
    lines = [line for line in shown.splitlines() if not line.lstrip().startswith("ckptdoctor ")]
    assert max(map(len, lines)) <= int(columns)
    if columns != "40":
        assert re.search(r"^ *m +first moment +2 of 2 ", shown, re.MULTILINE)


@pytest.mark.parametrize("columns", [40, 60, 80, 120, 200])
def test_long_names(museum: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """Long names stay whole, or break at their slashes: beside the figures where they fit, else above them."""
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = _report(str(museum / "keras/tf2.10-bilstm-h5.h5"), stats=True).splitlines()
    assert max(map(len, lines)) <= columns
    at = next(number for number, line in enumerate(lines) if line.startswith(f"  m of {LAYER}/"))
    if columns < 120:
        name = lines[at : at + 2] if columns == 40 else lines[at : at + 1]
        assert name == ([f"  m of {LAYER}/", "    kernel"] if columns == 40 else [f"  m of {LAYER}/kernel"])
        at += len(name)
    figures = lines[at]
    if columns == 40:
        assert figures == "    float32 3x8, min -0.01239,"
    else:
        assert figures.split()[-6:] == ["float32", "3x8", "-0.01239", "0.01904", "-0.0007631", "0"]


@pytest.mark.parametrize(
    ("name", "width", "rows"),
    [
        ("m of a/b", 20, ["m of a/b"]),
        ("m of layer/cell/kernel", 12, ["m of layer/", "  cell/", "  kernel"]),
        ("m of layer/cell/kernel", 14, ["m of layer/", "  cell/kernel"]),
        ("abcdefgh/x", 5, ["abcde", "  fgh", "  /x"]),
        ("鍵鍵鍵/x", 4, ["鍵鍵", "  鍵", "  /x"]),
        ("abc", 1, ["ab", "  c"]),
        ("", 5, [""]),
    ],
)
def test_where_names_break(name: str, width: int, rows: list[str]) -> None:
    """After a slash, and within a part only if that alone is too long."""
    assert name_rows(name, width) == rows


@pytest.mark.parametrize(
    "row",
    [
        "iterations int64 scalar optimizer/inner_optimizer/_iterations/",
        "_iterations of LossScaleOptimizer int64 scalar optimizer/_iterations/",
        "dynamic_scale of LossScaleOptimizer float32 scalar optimizer/dynamic_scale/",
        "_learning_rate of LossScaleOptimizer float32 scalar optimizer/_learning_rate/",
    ],
)
def test_what_is_no_slot(museum: Path, row: str) -> None:
    """The list has the count, scalars, a wrapper's own and counters, each with its key where that is another name."""
    shown = _report(str(museum / "tf/v2.21-k3-ckpt-loss_scale/ckpt"), tensors=True)
    assert f" {row}" in " ".join(shown.split())


def test_no_tensor_is_left_out(museum: Path, museum_truth: list[dict[str, Any]]) -> None:
    """Every key of every TensorFlow checkpoint of the museum is in the list, but for the object graph."""
    seen = 0
    for record in museum_truth:
        path = museum / record["path"]
        if not path.with_name(f"{path.name}.index").exists():
            continue
        (found,) = examine(path)
        assert found.state is not None
        listed = {row.tensor.key for row in tensor_rows(found.state)}
        assert set(read_bundle(found.resolved).tensors) - {GRAPH_KEY} <= listed, path
        seen += 1
    assert seen > 100


@pytest.mark.parametrize(
    "name", ["k3.15tf-mixed_f16-keras.keras", "tf2.15lo-lossscale_adam-wh5.weights.h5", "tf2.10-bilstm-h5.h5"]
)
def test_no_data_set_is_left_out(museum: Path, tmp_path: Path, name: str) -> None:
    """The same for HDF5, with what a LossScaleOptimizer writes twice."""
    path = museum / "keras" / name
    (found,) = examine(path)
    assert found.state is not None
    if path.suffix == ".keras":
        with zipfile.ZipFile(path) as archive:
            path = Path(archive.extract("model.weights.h5", tmp_path))
    inside: set[str] = set()
    with h5py.File(str(path)) as file:
        file.visititems(lambda key, each: inside.add(key) if isinstance(each, h5py.Dataset) else None)
    assert inside == {row.tensor.key.lstrip("/") for row in tensor_rows(found.state)}


def test_settings_stay_together(museum: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line never ends between a setting's name and its value."""
    for columns in range(40, 90):
        monkeypatch.setenv("COLUMNS", str(columns))
        lines = _report(str(museum / "keras/tf2.10-bilstm-h5.h5")).splitlines()
        for setting in ("learning_rate 0.01", "beta_1 0.9", "beta_2 0.999", "epsilon 1e-07"):
            assert any(setting in line for line in lines), columns


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_commands_stay_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """A command to be copied stands on one line, however long it is."""
    monkeypatch.setenv("COLUMNS", str(columns))
    prefix = write_bundle(tmp_path / "p", {"w": array([1.0])})
    command = f"ckptdoctor graft --from DONOR --into {prefix} --output {prefix}-resumed"
    assert command in [line.strip() for line in _report(prefix).splitlines()]


@pytest.mark.parametrize(
    ("hint", "rows"),
    [
        ("short", ["short"]),
        ("call it: model.optimizer.build() now", ["call it:", "model.optimizer.build()", "now"]),
        (
            "do it: ckptdoctor graft --from A --into B; or not",
            ["do it:", "ckptdoctor graft --from A --into B", "or not"],
        ),
        ("ckptdoctor explain S001", ["ckptdoctor explain S001"]),
    ],
)
def test_where_hints_break(hint: str, rows: list[str]) -> None:
    """At blanks only, and never within a command of ours."""
    assert hint_rows(hint, 12) == rows


def test_findings_have_their_severity(tmp_path: Path) -> None:
    """The word tells errors from notes, without colours too."""
    prefix = write_bundle(tmp_path / "p", {"w": array([1.0]), "w/ExponentialMovingAverage": array([1.0])})
    shown = _report(prefix)
    assert re.search(r"^  error +S001  ", shown, re.MULTILINE)
    assert re.search(r"^  info +S012  ", shown, re.MULTILINE)


def test_candidates(museum: Path) -> None:
    """Where several classes fit, the line names three, counts the others, and the verdict does not choose one."""
    shown = _report(str(museum / "keras/k3.15tf-frozen_mid-wh5.weights.h5"))
    assert re.search(r"\(inferred; \w+, \w+, \w+ and [1-9] more would fit too\)", shown)
    assert "iteration 7 with full state of Adam or a class that keeps the same; 2 of 6 variables" in shown


def test_decay(museum: Path) -> None:
    """The `decay` argument gives a next learning rate, and one for a lost count, as a schedule does."""
    shown = _report(str(museum / "keras/k2.2.4-adam_decay-h5.h5"))
    assert re.search(r"schedule +decay 0.001: next learning rate 0.00993049; if the count were lost 0.01\n", shown)


def test_no_trailing_blanks(tmp_path: Path) -> None:
    """Lines do not end in blanks, which tables would leave in files."""
    assert not re.search(r"[ \t]+$", _report(write_model(tmp_path / "p"), tensors=True, stats=True), re.MULTILINE)


def test_missing_slots_are_named(tmp_path: Path) -> None:
    """Missing slots are told by name, the first few, and how many more there are."""
    net = model({f"d{number:02d}/{name}": (2,) for number in range(10) for name in ("kernel", "bias")})
    kernels = [each for each in variables(net) if each.full_name.endswith("kernel")]
    shown = _report(write_objects(tmp_path / "p", tracked(model=net, optimizer=legacy(kernels))))
    told = "10 of 20 variables have no full Adam state: d00/bias, d01/bias, d02/bias and 7 more"
    assert told in " ".join(shown.split())


def test_unreadable_artifacts_are_not_here(tmp_path: Path) -> None:
    """What cannot be read is said on stderr; the report is of the others, unless it goes into a file."""
    path = str(tmp_path / "x.h5")
    (tmp_path / "x.h5").write_bytes(b"")
    assert _report(path) == ""
    assert _report(path, unreadable=True).startswith(f"{path}: cannot be read: ")


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (1_500_000, "1.5 MB"),
        (2 * 10**9, "2.0 GB"),
        (10**16, "10000.0 TB"),
    ],
)
def test_sizes(count: int, expected: str) -> None:
    """Sizes are in decimal units."""
    assert human_bytes(count) == expected


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (figure(None), ""), (figure(0.1234567), "0.123457"), (figure(7), "7"), (brief(1234567), "1,234,567"),
        (brief(0.00012345), "0.0001234"), (brief(None), ""), (shape_text(()), "scalar"), (shape_text((3, 4)), "3x4"),
        (counted(1, "byte"), "1 byte"), (counted(1000, "byte"), "1,000 bytes"),
    ],
)  # fmt: skip
def test_figures(shown: str, expected: str) -> None:
    """Figures are as people write them."""
    assert shown == expected


@pytest.mark.parametrize("text_in", [*NASTY, "plain", "ключ 鍵", "\ud800"])
def test_printable(text_in: str) -> None:
    """Escaped text is printable, and what was printable is left alone."""
    assert printable(text_in).isprintable()
    assert (printable(text_in) == text_in) is text_in.isprintable()


def test_bytes_of_names() -> None:
    """A byte of a file name that is no UTF-8 is shown as what it is."""
    assert printable(os.fsdecode(b"bad\xff.h5")) == "bad\\xff.h5"
