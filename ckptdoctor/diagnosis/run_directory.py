"""A run directory as a whole: what its state file says, and what lies there."""

from typing import NamedTuple

from ckptdoctor.state import Oddity


class Member(NamedTuple):
    """A checkpoint or model file of a run directory.

    Attributes:
        name: Its base name (of a checkpoint: of the prefix).
        path: Where it is.
        family: Its name without the number: `ckpt-1` and `ckpt-2` are saved one after the other.
        order: Sorts a family by when it was saved: the numbers in the name, each with the digits after its point; the
            time of the file where it has none.
        stem: Its name without a suffix: twins, `model.h5` and `model.keras`, share it.
        readable: Whether all of it is there.
        problem: Why not; "" if it is.
        iterations: The optimizer's count, or global_step; None if it holds neither.
    """

    name: str
    path: str
    family: str
    order: tuple[tuple[tuple[int, str], ...], float]
    stem: str
    readable: bool
    problem: str = ""
    iterations: int | None = None


class RunDirectory(NamedTuple):
    """What lies in a run directory.

    Attributes:
        path: The directory.
        members: Every checkpoint and model file that was looked into.
        latest: Name of the member that its state file names as the latest; None without one, or if it is not here.
        astray: What the state file lists and is not here, the latest first.
        oddities: What was noticed of its state file, or that there is none.
        temporary: Files of a save that did not end.
        unread: Number of further artifacts that were not looked into.
    """

    path: str
    members: tuple[Member, ...] = ()
    latest: str | None = None
    astray: tuple[str, ...] = ()
    oddities: tuple[Oddity, ...] = ()
    temporary: tuple[str, ...] = ()
    unread: int = 0

    @property
    def families(self) -> dict[str, list[Member]]:
        """The members by family, each in the order in which it was saved."""
        found: dict[str, list[Member]] = {}
        for each in sorted(self.members, key=lambda member: member.order):
            found.setdefault(each.family, []).append(each)
        return found

    def member(self, name: str | None) -> Member | None:
        """The member of a name."""
        return next((each for each in self.members if each.name == name), None)
