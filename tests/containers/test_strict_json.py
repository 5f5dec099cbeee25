"""JSON from strangers: bounded, and every failure told with its place."""

from __future__ import annotations

import pytest

from ckptdoctor.containers import strict_json
from ckptdoctor.containers.strict_json import parse_json, parse_object
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact


def test_parses_bytes_with_and_without_a_mark() -> None:
    """A byte order mark, which Windows editors leave behind, changes nothing."""
    assert parse_json(b'\xef\xbb\xbf{"a": [1]}', "m.keras", "config.json") == {"a": [1]}
    assert parse_json('\ufeff{"a": [1]}', "m.keras", "config.json") == {"a": [1]}


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 300 + "]" * 300])
def test_survives_depth(text: str) -> None:
    """Nesting deeper than Python's own stack is an error of the file, not of ours."""
    with pytest.raises(UnreadableArtifact, match="nested deeper"):
        parse_json(text, "m.h5", "@model_config")


def test_reads_what_models_need() -> None:
    """Forty models in one another are no attack."""
    assert parse_json("[" * 200 + "]" * 200, "m.h5", "@model_config")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe", b"nope", b"9" * 5000])
def test_says_where_it_is_no_json(text: bytes) -> None:
    """The place comes first, then the parser's reason; numbers of 5,000 digits are refused by Python."""
    with pytest.raises(UnreadableArtifact, match=r"^config\.json: is not JSON"):
        parse_json(text, "m.keras", "config.json")


def test_bounds_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration larger than the limit is refused unparsed."""
    monkeypatch.setattr(strict_json, "MAX_BYTES", 10)
    with pytest.raises(LimitExceeded, match="11 bytes"):
        parse_json(b'"123456789"', "m.keras", "config.json")


def test_wants_an_object() -> None:
    """Where an object is required, any other value is an error that says what was found."""
    with pytest.raises(UnreadableArtifact, match="should be a JSON object and is list"):
        parse_object("[1]", "m.keras", "config.json")
