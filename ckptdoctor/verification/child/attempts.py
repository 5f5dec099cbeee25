"""One call after another, each told by what the framework held after it, what it raised, and what it warned of."""

import logging
import warnings
from typing import Any, Callable, NamedTuple  # noqa: UP035 - Callable[[], …] of collections.abc needs Python 3.9

TELLING = ("optimizer", "unrestored", "training configuration", "not recognized", "could not be")
"""Of all that frameworks log, what may concern the optimizer."""
MOST_WARNINGS = 5
LONGEST = 600


class Said(Exception):
    """A framework did not restore the artifact; its text is the whole sentence."""


class Unproven(Said):
    """Nothing tells whether the framework restores it: what would have to be asked is not known, or not here."""


class Attempt(NamedTuple):
    """A way to load the artifact.

    Attributes:
        key: Its key in the table of losses (diagnosis/loaders.json).
        call: The code, as users write it.
        run: Does it and answers with a snapshot of each optimizer.
    """

    key: str
    call: str
    run: Callable[[], list[dict[str, Any]]]


def run(kind: Any, framework: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Tries a kind's calls from the one that is asked for, until one seems to restore everything."""
    done: list[dict[str, Any]] = []
    for number, attempt in enumerate(kind.attempts(framework, request)):
        if number >= request["start"]:
            done.append(_one(attempt))
            if satisfied(done[-1], request):
                return {"attempts": done, "stopped": True}
    return {"attempts": done, "stopped": False}


def satisfied(result: dict[str, Any], request: dict[str, Any]) -> bool:
    """Whether the framework holds every value that is expected of it, though perhaps in wrong places."""
    if result["error"] is not None or len(result["optimizers"]) < len(request["expected"]):
        return False
    for index, expected in enumerate(request["expected"]):
        found = result["optimizers"][index]
        held = [slot["sha256"] for slot in found["slots"]]
        if expected["iterations"] is not None and found["iterations"] != expected["iterations"]:
            return False
        for digest in set(expected["slots"]):
            if held.count(digest) < expected["slots"].count(digest):
                return False
    return True


def _one(attempt: Attempt) -> dict[str, Any]:
    proven = True
    with Listening() as heard:
        try:
            optimizers, error = attempt.run(), None
        except Unproven as raised:
            optimizers, error, proven = [], str(raised), False
        except Said as raised:
            optimizers, error = [], str(raised)
        except Exception as raised:  # noqa: BLE001 - whatever a framework raises is the result
            optimizers, error = [], describe(raised)
    return {
        "key": attempt.key,
        "call": attempt.call,
        "error": error,
        "proven": proven,
        "warnings": heard.telling(),
        "optimizers": optimizers,
    }


def describe(error: BaseException) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST]


class Listening(logging.Handler):
    """Collects warnings and log records while it is entered."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._texts: list[str] = []
        self._warnings: Any = None
        self._caught: Any = None

    def __enter__(self) -> "Listening":
        self._warnings = warnings.catch_warnings(record=True)
        self._caught = self._warnings.__enter__()
        warnings.simplefilter("always")
        for name in ("tensorflow", "absl", ""):
            logging.getLogger(name).addHandler(self)
        return self

    def __exit__(self, *details: object) -> None:
        for name in ("tensorflow", "absl", ""):
            logging.getLogger(name).removeHandler(self)
        self._texts += [str(each.message) for each in self._caught]
        self._warnings.__exit__(*details)

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a record's text."""
        self._texts.append(record.getMessage())

    def telling(self) -> list[str]:
        """What may concern the optimizer, once each."""
        lines = [" ".join(text.split())[:LONGEST] for text in self._texts]
        chosen = [line for line in dict.fromkeys(lines) if any(word in line.lower() for word in TELLING)]
        return chosen[:MOST_WARNINGS]
