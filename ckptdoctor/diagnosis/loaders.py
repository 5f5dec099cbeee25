"""What loads an artifact: a package of a version, as `--loader keras==3.15` names it."""

import re
from typing import Literal, NamedTuple, TypeAlias

from ckptdoctor.errors import UsageProblem
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.state import TrainingState
from ckptdoctor.versions import release

Line: TypeAlias = Literal[
    "keras", "tf.keras", "standalone-keras", "torch", "lightning", "transformers", "accelerate", "deepspeed", "orbax",
    "flax",
]  # fmt: skip
"""A line of code, whose versions behave alike: Keras 3; TensorFlow's own Keras up to 2.15, which tf_keras goes on with;
the package keras up to 2.3; PyTorch and each of its trainers; what restores the state of optax."""


class _Package(NamedTuple):
    """A package that loads.

    Attributes:
        title: How a person says it.
        majors: Its first and its last major version.
        aliases: Other names that it is installed by.
        line: The line of code that it is in every version; None where the version tells.
        program: Whose optimizers it has, as their dialects say it.
    """

    title: str
    majors: tuple[int, int]
    aliases: tuple[str, ...] = ()
    line: Line | None = None
    program: str = "keras"


_OF_TENSORFLOW = ("tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel", "tensorflow-macos", "tensorflow-rocm", "tf")
_PACKAGES = {
    "keras": _Package("Keras", (1, 3)),
    "tf_keras": _Package("tf_keras", (2, 2), ("tf-keras",)),
    "tensorflow": _Package("TensorFlow", (1, 2), (*_OF_TENSORFLOW, "tf.keras")),
    "torch": _Package("PyTorch", (0, 2), ("pytorch",), "torch", "torch"),
    "lightning": _Package("Lightning", (0, 2), ("pytorch-lightning",), "lightning", "torch"),
    "transformers": _Package("transformers", (2, 5), (), "transformers", "torch"),
    "accelerate": _Package("accelerate", (0, 1), (), "accelerate", "torch"),
    "deepspeed": _Package("DeepSpeed", (0, 0), (), "deepspeed", "torch"),
    "orbax": _Package("Orbax", (0, 0), ("orbax-checkpoint",), "orbax", "optax"),
    "flax": _Package("flax", (0, 0), (), "flax", "optax"),
}
_ALIASES = {alias: name for name, each in _PACKAGES.items() for alias in (name, *each.aliases)}
_EXAMPLES = "keras==3.15, tensorflow==2.10, torch==2.9 or orbax==0.11"
_SPECIFIER = r"\s*([A-Za-z][A-Za-z0-9_.-]*)\s*(?:([=<>!~]+)\s*(\S+?))?\s*\Z"
_KERAS_3 = 3
_FIRST_TF_KERAS = (2, 4)
_FIRST_BUNDLED = (2, 16)


class Loader(NamedTuple):
    """A loader.

    Attributes:
        package: `keras`, `tf_keras`, `tensorflow`, `torch`, a trainer's, `orbax` or `flax`.
        version: `3.15`, `2.10.1`; "" where it is not known.
    """

    package: str
    version: str

    @property
    def line(self) -> Line:
        """The line of code.

        Since 2.16 TensorFlow's Keras is Keras 3; from 2.4 to 2.15 the package keras was tf.keras.
        """
        fixed = _PACKAGES[self.package].line
        if fixed is not None:
            return fixed
        known = release(self.version)
        if self.package == "keras":
            if known and known < _FIRST_TF_KERAS:
                return "standalone-keras"
            return "tf.keras" if known and known[0] < _KERAS_3 else "keras"
        return "keras" if self.package == "tensorflow" and known >= _FIRST_BUNDLED else "tf.keras"

    @property
    def program(self) -> str:
        """Whose optimizers it has, as their dialects say it."""
        return _PACKAGES[self.package].program

    @property
    def line_version(self) -> str:
        """The version within its line; "" where it is not known: TensorFlow takes the Keras 3 that is installed."""
        return "" if self.package == "tensorflow" and self.line == "keras" else self.version

    @property
    def whose(self) -> str:
        """As a person says it: `Keras 3.15's`."""
        if not self.version:
            unversioned = {"keras": "Keras 3", "tf.keras": "tf.keras"}
            return f"{unversioned.get(self.line, _PACKAGES[self.package].title)}'s"
        bundled = self.package == "tensorflow" and self.line == "keras"
        return f"{_PACKAGES[self.package].title} {self.version}'s{' Keras 3' if bundled else ''}"


def parse_loader(text: str) -> Loader:
    """Reads `keras==3.15`.

    Raises:
        UsageProblem: It is no package or version that loads artifacts; the message names the near ones.
    """
    found = re.match(_SPECIFIER, text)
    if found is None:
        raise UsageProblem(f"{text[:80]!r} is no loader: name a package and its version, {_EXAMPLES}")
    name, operator, version = found[1], found[2], found[3]
    package = _ALIASES.get(name.lower()) or _ALIASES.get(name.lower().replace("_", "-"))
    if package is None:
        from difflib import get_close_matches

        near = get_close_matches(name.lower(), _PACKAGES, n=1)
        known = f"did you mean {near[0]}? " if near else ""
        raise UsageProblem(f"{name[:80]!r} is no loader that is known: {known}Name {_EXAMPLES}")
    if version is None:
        raise UsageProblem(f"what {package} restores depends on its version: name it, as {_EXAMPLES}")
    if operator not in {"=", "==", "==="}:
        raise UsageProblem(f"{text[:80]!r} is a range: name the one version that loads, as {_EXAMPLES}")
    return Loader(package, _version(package, version.removesuffix(".*")))


def _version(package: str, text: str) -> str:
    from packaging.version import Version

    try:
        version = Version(text)
    except ValueError:  # InvalidVersion, or more digits than Python turns into a number
        raise UsageProblem(f"{text[:80]!r} is no version of {package}: name the loader as {_EXAMPLES}") from None
    least, most = _PACKAGES[package].majors
    if not least <= version.major <= most:
        known = f"{least}" if least == most else f"{least} to {most}"
        raise UsageProblem(f"there is no {package} {text[:80]} that is known: its major versions are {known}")
    return text


def own_loader(state: TrainingState) -> Loader | None:
    """The loader of the producer's own version, its version "" where the artifact does not name it; None for others.

    What TensorFlow 1's optimizers wrote is loaded by the graph that they are in, and no loader is at fault there.
    """
    framework, version = state.producer
    plain = (version or "").removesuffix("-tf")
    if framework == "keras":
        return Loader("keras", plain)
    if framework == "tf.keras":
        return Loader("tensorflow", plain)
    if framework == "tf_keras" or (framework in _PACKAGES and _PACKAGES[framework].line):
        return Loader(framework, plain)
    packages = {dialect(each.generation).package for each in state.optimizers if each.has_state}
    if packages == {"keras"}:
        return Loader("keras", "")
    if packages == {"tf_keras"}:
        # TensorFlow since 2.16 writes these with the package tf_keras only.
        bundled = release(plain) >= _FIRST_BUNDLED
        return Loader("tf_keras" if bundled and plain else "tensorflow", plain)
    return None
