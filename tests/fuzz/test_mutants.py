"""A sample of damaged artifacts through the commands; README.md tells of the whole of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz.judge import Judge
from fuzz.mutants import run
from fuzz.mutations import Recipe, copied, damage, recipes
from support.commands import ckptdoctor

FORMATS = (
    "tf-checkpoint",
    "tf-checkpoint-v1",
    "saved-model",
    "keras-h5",
    "keras-h5-weights",
    "keras-archive",
    "keras-weights",
    "optimizer-dump",
    "orbax-checkpoint",
)


@pytest.mark.parametrize("each", [4, pytest.param(20, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("form", FORMATS)
def test_a_sample(form: str, each: int, museum: Path) -> None:
    """Bit flips, truncations and splices end in a result or a sentence: no traceback, no hang, no gigabytes."""
    artifacts = list(dict.fromkeys(recipe.case for recipe in recipes(museum, each=1, formats=(form,))))
    step = max(1, len(artifacts) // 5)
    tally = run(museum, recipes(museum, each=each, step=step, formats=(form,)))
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.mutants >= 5 * each
    counts = tally.codes[form]
    assert counts[0] > 0, "some damage does no harm"
    assert counts[3] > 0, "some damage is told"


def test_a_sample_in_processes_of_their_own(museum: Path, tmp_path: Path) -> None:
    """The same as a user runs it: the exit code is 0 or 3, and 3 comes with one line that says why."""
    sample = [next(recipes(museum, each=1, formats=(form,), first=5)) for form in FORMATS]
    for number, recipe in enumerate(sample):
        folder = tmp_path / str(number)
        artifact = copied(museum, recipe.case, folder)
        made = damage(recipe, folder)
        (folder / made.file).write_bytes(made.data)
        result = ckptdoctor("inspect", "--stats", artifact)
        assert result.code in {0, 3}, (recipe, made.what, result.err)
        assert "Traceback" not in result.err
        assert (result.code == 3) == result.err.startswith("ckptdoctor: "), (recipe, result.err)


def test_recipes_repeat(museum: Path, tmp_path: Path) -> None:
    """A recipe makes the same mutant each time, and leaves the artifact as it was."""
    recipe = next(recipes(museum, each=1, formats=("optimizer-dump",), first=3))
    copied(museum, recipe.case, tmp_path / "one")
    copied(museum, recipe.case, tmp_path / "two")
    first, second = damage(recipe, tmp_path / "one"), damage(recipe, tmp_path / "two")
    assert first == second
    assert first.data != (tmp_path / "one" / first.file).read_bytes()


def test_the_judge_sees_what_is_wrong(museum: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody expects is a defect, and named with its traceback."""

    def broken(path: str) -> object:
        raise ZeroDivisionError(path)

    monkeypatch.setattr("ckptdoctor.formats.dumps.reading.contents", broken)
    recipe = Recipe("keras/k1.2.2-adam-getw.pkl", "optimizer-dump", 0)
    verdicts = [Judge(museum, tmp_path).judge(recipe._replace(seed=seed)) for seed in range(12)]
    assert any("ZeroDivisionError" in each.wrong for each in verdicts)
