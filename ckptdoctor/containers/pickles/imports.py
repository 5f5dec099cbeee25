"""What a pickle may name, and what that does: an argument of the machine, as each kind of file has its own."""

from __future__ import annotations

from ckptdoctor.containers.pickles import values
from ckptdoctor.containers.pickles.values import ALLOWED, Global, NotThese, Opaque


class Imports:
    """Plain data and numpy arrays. Kinds of files whose pickles name more have a class below this one.

    Nothing here imports or calls what a pickle names: effects are our own code, on our own types.
    """

    def find(self, module: str, name: str) -> object | None:
        """What an import stands for; None where it is refused."""
        known = ALLOWED.get((module, name))
        return None if known is None else Global(known, name)

    def call(self, function: object, args: object) -> object:
        """What an import makes of its arguments (REDUCE, NEWOBJ, OBJ, INST).

        Raises:
            NotThese: It does not take such arguments.
        """
        return values.call(function, args)

    def build(self, made: object, state: object) -> None:
        """Gives an object its state (BUILD).

        Raises:
            NotThese: Such an object has no such state.
        """
        values.build(made, state)

    def persistent(self, reference: object) -> object:  # noqa: ARG002 - there is nothing that it could name
        """What a reference to something outside of the pickle stands for.

        Raises:
            NotThese: There is nothing outside.
        """
        raise NotThese("the pickle uses persistent references, which stand outside of it")


ARRAYS = Imports()


class Packages(Imports):
    """The same, and classes of some packages, which stay records of what they are made of.

    Args:
        names: The packages, by the first part of their names.
    """

    def __init__(self, *names: str) -> None:
        self._names = frozenset(names)

    def find(self, module: str, name: str) -> object | None:
        """What an import stands for: a class, if it is called like one."""
        found = super().find(module, name)
        if found is None and module.partition(".")[0] in self._names and name.isidentifier() and name[:1].isupper():
            return Opaque(f"{module}.{name}")
        return found

    def call(self, function: object, args: object) -> object:
        """A record of an object of such a class."""
        if isinstance(function, Opaque) and isinstance(args, tuple):
            return Opaque(function.name, args)
        return super().call(function, args)

    def build(self, made: object, state: object) -> None:
        """Keeps the state of such an object."""
        if isinstance(made, Opaque):
            made.state = state
        else:
            super().build(made, state)
