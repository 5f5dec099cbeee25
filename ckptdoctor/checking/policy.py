"""The policy: which rules count and how much, and what the artifacts have to hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from ckptdoctor.diagnosis.findings import Severity


class Expectation(str, Enum):
    """What an artifact is for."""

    RESUMABLE = "resumable"
    """Training goes on from it: its optimizer state has to be there."""
    WEIGHTS_ONLY = "weights-only"
    """A release: optimizer state is what should not be there."""


class Part(str, Enum):
    """What `--require` asks for."""

    ITERATIONS = "iterations"
    SLOTS = "slots"
    HYPERPARAMETERS = "hyperparameters"
    WEIGHTS = "weights"


@dataclass(frozen=True, slots=True)
class Override:
    """Settings for the paths that match a glob; they replace those of the policy."""

    glob: str
    settings: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Policy:
    """What artifacts are judged by.

    Attributes:
        select: Codes or prefixes of the rules that count; empty: all.
        ignore: Codes or prefixes of those that do not; the longer prefix wins over a shorter one in `select`.
        severities: Code or prefix → severity, in place of the rule's own.
        fail_on: The least severity that fails an artifact.
        expect: What the artifacts are for.
        require: What they have to hold.
        min_iterations: The least count of every optimizer; None: any.
        optimizer: The class that their optimizer has to be; None: any.
        loader: What they will be loaded with, as `keras==3.15`; None: nobody said.
        deep: Read every byte.
        overrides: Settings by path, the last that matches wins.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    severities: Mapping[str, Severity] = field(default_factory=dict)
    fail_on: Severity = Severity.ERROR
    expect: Expectation = Expectation.RESUMABLE
    require: tuple[Part, ...] = ()
    min_iterations: int | None = None
    optimizer: str | None = None
    loader: str | None = None
    deep: bool = False
    overrides: tuple[Override, ...] = ()
