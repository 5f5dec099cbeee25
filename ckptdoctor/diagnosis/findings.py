"""What a rule finds: a code, a weight and a sentence."""

from enum import Enum
from typing import NamedTuple


class Severity(str, Enum):
    """How much a finding weighs."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the gravest."""
        return _GRAVEST_FIRST.index(self)


_GRAVEST_FIRST = (Severity.ERROR, Severity.WARNING, Severity.INFO)


_ASIDE = frozenset({"I009", "P002", "S010", "S018", "S023", "X006"})


class Finding(NamedTuple):
    """What a rule found.

    Attributes:
        code: The rule.
        severity: Its weight.
        message: What is the case, with figures and names.
        hint: What to do about it; "" if there is nothing to do.
    """

    code: str
    severity: Severity
    message: str
    hint: str = ""


def is_aside(finding: Finding) -> bool:
    """Whether it is true of most healthy artifacts: the optimizer's share, an order by position, settings."""
    return finding.code in _ASIDE and finding.severity is Severity.INFO
