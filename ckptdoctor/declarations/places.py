"""What is wrong with a policy file, in one sentence: where, and what would be right."""

from collections.abc import Iterable
from typing import NamedTuple, NoReturn

from ckptdoctor.errors import UsageProblem

_SHOWN = 100
"""Characters of a value that a complaint repeats."""


class Place(NamedTuple):
    """Where a value stands, for complaints."""

    where: str
    name: str

    def refuse(self, what: str, between: str = " ") -> NoReturn:
        """Raises that what stands here is wrong."""
        raise UsageProblem(f"{self.name}{between}{what}", None if self.where == "command line" else self.where)

    def refuse_value(self, wanted: str, value: object, hint: str = "") -> NoReturn:
        """Raises what should stand here instead."""
        self.refuse(f"should be {wanted}, not {shown(value)}{hint}")

    def refuse_key(self, key: object, known: Iterable[str]) -> NoReturn:
        """Raises that there is no such key here, with those that there are."""
        from difflib import get_close_matches

        near = get_close_matches(str(key), list(known), n=1, cutoff=0.5)
        self.refuse(f"has no {shown(key)}: " + (f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"))


def shown(value: object) -> str:
    """A value, as far as a sentence has room for it."""
    try:
        text = repr(value)
    except ValueError:  # more digits than Python writes
        return "a number of very many digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
