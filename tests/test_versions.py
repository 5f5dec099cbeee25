"""Version numbers in every spelling that artifacts have, and words that count."""

from __future__ import annotations

import pytest

from ckptdoctor.versions import release, within
from ckptdoctor.words import counted, enumerate_some, shortened


@pytest.mark.parametrize(
    ("version", "parts", "numbers"),
    [
        ("2.10.1", 2, (2, 10)),
        ("2.10.1", 3, (2, 10, 1)),
        ("2.2.4-tf", 3, (2, 2, 4)),
        ("2.16.0rc1", 2, (2, 16)),
        ("3", 2, (3, 0)),
        ("3.x", 2, (3, 0)),
        ("", 2, ()),
        (None, 2, ()),
        ("nightly", 2, ()),
        ("٣.1", 2, ()),
        ("1" * 5000, 2, ()),
        ("2." + "1" * 5000, 2, (2, 0)),
    ],
)
def test_releases(version: str | None, parts: int, numbers: tuple[int, ...]) -> None:
    """The first numbers; nothing for what is none, in whatever script or length."""
    assert release(version, parts) == numbers


@pytest.mark.parametrize(
    ("version", "bound", "inside"),
    [
        ("2.11.0", ">=2.11", True),
        ("2.10.9", ">=2.11", False),
        ("2.0.5", "<2.0.6", True),
        ("2.1", "<2.0.6", False),
        ("9", "", True),
    ],
)
def test_bounds(version: str, bound: str, inside: bool) -> None:  # noqa: FBT001
    """A bound of fewer numbers than a release has."""
    assert within(release(version, 3), bound) is inside


def test_words() -> None:
    """Numbers with their nouns, and lists as far as a sentence has room."""
    assert [counted(each, "error") for each in (0, 1, 3000)] == ["0 errors", "1 error", "3,000 errors"]
    assert counted(2, "run directory", "run directories") == "2 run directories"
    assert enumerate_some(["a", "b", "c", "d"]) == "a, b, c and 1 more"
    assert enumerate_some(["a", "b"]) == "a, b"
    assert len(shortened("x" * 1000)) == 201
