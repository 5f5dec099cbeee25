"""What a hostile case is: a name, a function that builds it, and what the commands should make of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

FIXTURES = Path(__file__).resolve().parent.parent.parent / "fixtures"
MARKER = "HOSTILE_PAYLOAD"
"""Stands in everything that would be code if anybody ran it: the audit hook looks for it."""
USUAL, ENDLESS = 2.0, 10.0
"""Seconds of processor time: what few commands take, and none but those that meet a loop in HDF5."""


class Expected(NamedTuple):
    """How `inspect` should answer.

    Attributes:
        code: Its exit code; -1: any that goes with what it says.
        says: Part of the sentence.
        finding: The code of a finding; "" where there is an error, or nothing wrong.
        harmless: Why a normal result without a finding is right; "" says that it would not be.
        cpu: Seconds of processor time that a command may take.
    """

    code: int
    says: str = ""
    finding: str = ""
    harmless: str = ""
    cpu: float = USUAL


def unreadable(says: str, *, cpu: float = USUAL) -> Expected:
    """Exit code 3 and a sentence with this in it."""
    return Expected(3, says, cpu=cpu)


def finding(code: str, says: str, *, cpu: float = USUAL) -> Expected:
    """It is read, and a finding of this code says this."""
    return Expected(0, says, finding=code, cpu=cpu)


def harmless(why: str, *, says: str = "", cpu: float = USUAL) -> Expected:
    """A normal result, and why that is right."""
    return Expected(0, says, harmless=why, cpu=cpu)


def suspect(says: str = "", *, cpu: float = USUAL) -> Expected:
    """It cannot be read, or is read and not called complete, or has some finding."""
    return Expected(-1, says, cpu=cpu)


def absent(says: str) -> Expected:
    """Wrong use: nothing is there."""
    return Expected(2, says)


class Place(NamedTuple):
    """Where a case is built.

    Attributes:
        own: A folder for its files; nothing else may be opened.
        secret: A folder whose files nobody may open; the kernel is asked whether somebody did.
    """

    own: Path
    secret: Path


class Case(NamedTuple):
    """A hostile artifact.

    Attributes:
        name: Of the case, its family before the colon.
        build: Makes it; answers what the command is pointed at.
        expected: What `inspect` should make of it.
        partner: The fixture that it is grafted with.
        fresh: Every command has to import h5py itself: what is tried happens when HDF5 begins.
    """

    name: str
    build: Callable[[Place], Path]
    expected: Expected
    partner: str
    fresh: bool = False

    @property
    def is_endless(self) -> bool:
        """Whether HDF5 is caught in a loop, which takes a while to be ended: it is inspected, and nothing more."""
        return self.expected.cpu > ENDLESS


class Family:
    """The cases of one family of files."""

    def __init__(self, name: str, partner: str) -> None:
        self.name = name
        self.partner = partner
        self.cases: list[Case] = []

    def case(
        self, name: str, expected: Expected, *, fresh: bool = False
    ) -> Callable[[Callable[[Place], Path]], Callable[[Place], Path]]:
        """Registers the function that builds a case."""

        def register(build: Callable[[Place], Path]) -> Callable[[Place], Path]:
            self.add(name, build, expected, fresh=fresh)
            return build

        return register

    def add(
        self, name: str, build: Callable[..., Path], expected: Expected, *given: object, fresh: bool = False
    ) -> None:
        """Registers a case; `given` follows the place when it is built."""

        def make(place: Place) -> Path:
            return build(place, *given)

        self.cases.append(Case(f"{self.name}: {name}", make, expected, self.partner, fresh))
