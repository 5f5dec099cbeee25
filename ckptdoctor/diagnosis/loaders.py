"""What loads an artifact: a package of a version, as `--loader keras==3.15` names it."""

from __future__ import annotations

from typing import NamedTuple

from ckptdoctor.errors import UsageProblem


class Loader(NamedTuple):
    """A loader.

    Attributes:
        package: `keras`, `tf_keras` or `tensorflow`.
        version: `3.15`, `2.10.1`.
    """

    package: str
    version: str


def parse_loader(text: str) -> Loader:
    """Reads `keras==3.15`.

    Raises:
        UsageProblem: It is not of that form.
    """
    package, equals, version = text.partition("==")
    if not (package and equals and version):
        raise UsageProblem(f"--loader {text!r} should be PACKAGE==VERSION, such as keras==3.15")
    return Loader(package, version)
