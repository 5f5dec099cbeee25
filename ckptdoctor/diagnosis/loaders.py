"""What loads an artifact: a package of a version, as `--loader keras==3.15` names it."""

from __future__ import annotations

from typing import NamedTuple


class Loader(NamedTuple):
    """A loader.

    Attributes:
        package: `keras`, `tf_keras` or `tensorflow`.
        version: `3.15`, `2.10.1`.
    """

    package: str
    version: str
