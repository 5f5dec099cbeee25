"""Pages are inert, whatever stands in names; in a real browser they are readable, silent, and fit a telephone."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.bundles import array, write_bundle
from support.museum import FIXTURES

from ckptdoctor.cli import cli
from ckptdoctor.report.pages.page import page, table, text
from ckptdoctor.report.pages.pictures import Line, bars, lines

EVIL = (
    "<script>document.title='owned'</script>",
    "\" onmouseover=\"document.title='owned'",
    "</style><img src=x onerror=\"document.title='owned'\">",
    "a\u202eb\x1b[31m\x00",
    "]]><!--",
)
WIDTHS = (390, 800, 1600)
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in {"meta", "br", "line", "rect", "polyline"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in {"line", "rect", "polyline"}:
            assert self.open.pop() == tag


def _well_formed(document: str) -> _Tags:
    tags = _Tags()
    tags.feed(document)
    assert tags.open == []
    assert "script" not in tags.seen
    assert not {name for name in tags.attributes if name.startswith("on") or name in {"src", "href", "style"}}
    return tags


@pytest.fixture
def pages(tmp_path: Path) -> dict[str, Path]:
    """A page of each command, on artifacts whose names are hostile."""
    evil = write_bundle(tmp_path / "evil", {f"{name}/.ATTRIBUTES/VARIABLE_VALUE": array([1.0]) for name in EVIL})
    keras, run = str(FIXTURES / "keras3.keras"), str(FIXTURES / "run-a")
    commands = {
        "inspect": ["inspect", keras, evil, "--stats", "--tensors"],
        "check": ["check", "--no-config", evil, keras, str(FIXTURES / "weights-only.h5")],
        "diff": ["diff", f"{run}/ckpt-3", f"{run}/ckpt-7", "--values"],
        "history": ["history", run],
    }
    found = {}
    for name, words in commands.items():
        found[name] = tmp_path / f"{name}.html"
        done = CliRunner().invoke(cli, [*words, "--format", "html", "--output-file", str(found[name])])
        assert done.exit_code in {0, 1}, done.output
    return found


def test_nothing_runs(pages: dict[str, Path]) -> None:
    """No script, no handler, nothing from elsewhere; a policy that allows the one style sheet alone."""
    for each in pages.values():
        document = each.read_text(encoding="utf-8")
        _well_formed(document)
        assert re.search(r"default-src 'none'; style-src 'sha256-[A-Za-z0-9+/=]{44}'", document)
        assert "\u202e" not in document
        assert "\x1b" not in document


def test_what_is_in_them(pages: dict[str, Path]) -> None:
    """Verdicts, fixes, pictures with their titles and the tables beside them."""
    told = {name: each.read_text(encoding="utf-8") for name, each in pages.items()}
    assert "resumes at iteration 7 with full Adam state" in told["inspect"]
    assert "<title>CosineDecay: learning rate</title>" in told["inspect"]
    assert "if the count were lost" in told["inspect"]
    assert told["inspect"].count("<svg") == told["inspect"].count("<details>") == 3
    assert "<code>ckptdoctor graft" in told["check"]
    assert told["check"].index("weights-only.h5</td>") < told["check"].index("keras3.keras</td>")  # what failed first
    assert "largest difference by variable" in told["diff"]
    assert "resume from ckpt-7" in told["history"]


@pytest.mark.parametrize("name", EVIL)
def test_every_part_escapes(name: str) -> None:
    """Titles, cells, labels of pictures."""
    drawn = lines(name, name, [Line(name, ((0.0, 1.0), (1.0, 2.0))), Line(name, ((0.0, float("nan")), (1.0, 1.0)))])
    document = page(name, [table((name,), [(name,)]), bars(name, (name, name), [(name, 1.0)]), drawn, text(name)])
    _well_formed(document)


def test_pictures_of_odd_numbers() -> None:
    """NaN, infinities, zeros and equal numbers are drawn, or left out; nothing is divided by zero."""
    odd = [("a", float("nan")), ("b", float("inf")), ("c", 0.0), ("d", -3.0), ("e", 5e-324), ("f", 1e308)]
    for logarithmic in (False, True):
        assert "<svg" in bars("t", ("x", "y"), odd, logarithmic=logarithmic)
    assert lines("t", "x", [Line("a", ((0.0, float("nan")), (1.0, float("inf"))))]) == ""
    assert "<polyline" in lines("t", "x", [Line("a", ((0.0, 1.0), (0.0, 1.0)))])
    assert "<polyline" in lines("t", "x", [Line("a", ((0.0, 1.0), (9.0, 1.0)))])


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, as the machine has it."""
    playwright = pytest.importorskip("playwright.sync_api")
    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser(pages: dict[str, Path], browser: Any, scheme: str, tmp_path: Path) -> None:
    """At three widths: silent, no request, no sideways scroll, the title as it was, and nothing that axe objects to."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    for name, file in pages.items():
        for width in WIDTHS:
            context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
            opened = context.new_page()
            said: list[str] = []
            asked: list[str] = []
            opened.on("console", lambda each, said=said: said.append(each.text))
            opened.on("pageerror", lambda each, said=said: said.append(str(each)))
            opened.on("request", lambda each, asked=asked: asked.append(each.url))
            opened.goto(file.as_uri())
            assert opened.title().startswith(f"ckptdoctor {name}")
            assert said == []
            assert asked == [file.as_uri()]
            assert opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
            picture = tmp_path / f"{name}-{width}-{scheme}.png"
            opened.screenshot(path=str(picture), full_page=True)
            assert picture.stat().st_size > 1000
            context.close()
        # Axe is a script, which the page's policy forbids: it is tried with the policy taken away.
        bare = tmp_path / f"{name}-bare.html"
        bare.write_text(re.sub(r"<meta http-equiv[^>]*>", "", file.read_text(encoding="utf-8")), encoding="utf-8")
        context = browser.new_context(color_scheme=scheme)
        opened = context.new_page()
        opened.goto(bare.as_uri())
        violations = axe.run(opened).response["violations"]
        assert violations == [], json.dumps(violations, indent=1)[:3000]
        context.close()
