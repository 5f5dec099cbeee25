"""The order in which the groups of an HDF5 file were written, which the file itself does not record.

Where objects lie tells it, but not by a group's own address alone: a table of links that is outgrown is moved, and what
it leaves behind becomes the header of a group that is made later (H5MF_alloc takes free space before it extends the
file). Reuse can only make an address smaller, and frameworks write what belongs to one layer in one go. So the largest
address at or below a group is what tells when it was written.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple


class Members(NamedTuple):
    """A group's address, and those of the groups and data sets in it with their names."""

    address: int
    groups: tuple[tuple[int, str], ...]
    datasets: tuple[tuple[int, str], ...]


def in_order_of_writing(found: Mapping[str, Members]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Every group, parents first: its path, its groups and its data sets, each in the order of writing.

    Args:
        found: The groups by path, parents before what is in them. A group that is linked twice is there once.
    """
    last = _last_addresses(found)
    pending = [""]
    while pending:
        path = pending.pop()
        members = found.get(path)
        if members is None:
            continue
        ordered = sorted((last.get(join(path, name), address), name) for address, name in members.groups)
        groups = [name for _, name in ordered]
        yield path, groups, [name for _, name in sorted(members.datasets)]
        pending.extend(join(path, name) for name in reversed(groups))


def _last_addresses(found: Mapping[str, Members]) -> dict[str, int]:
    """The largest address at or below each group, in one pass from the leaves up."""
    last: dict[str, int] = {}
    for path, members in reversed(list(found.items())):
        below = [last.get(join(path, name), address) for address, name in members.groups]
        last[path] = max([members.address, *below, *(address for address, _ in members.datasets)])
    return last


def join(path: str, name: str) -> str:
    """The path of what is in a group; the root's is ""."""
    return f"{path}/{name}" if path else name
