"""How a script is put together: its imports, what only the user's program knows, what restores, and what proves it."""

import os
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ckptdoctor import __version__
from ckptdoctor.state import TrainingState
from ckptdoctor.storage import is_remote

_LONGEST = 100
_MOST_VARIABLES = 200
"""So many variables of the model are listed; the rest is counted."""
_STANDARD = ("json", "math", "os", "random", "sys", "zipfile")
MODEL, OPTIMIZER, SCHEDULER, RATE = "build_model", "build_optimizer", "build_scheduler", "learning_rate"


NEAREST = "nearest"
_NEAREST = (
    f"def {NEAREST}(variables, wanted):",
    '    """Of the norms of these, the one that is nearest: the file has no number for the variable."""',
    "    norms = [float(np.linalg.norm(np.asarray(each).astype(np.float64))) for each in variables]",
    "    return min(norms, key=lambda each: abs(each - wanted))",
)


class Gap(NamedTuple):
    """What only the user's program knows: a function at the top of the script, to be filled in.

    Attributes:
        signature: Its name and arguments.
        says: What it has to answer with.
        told: What the artifact tells of it, a line each.
    """

    signature: str
    says: str
    told: tuple[str, ...] = ()


class Script(NamedTuple):
    """A script, part by part.

    Attributes:
        title: What it restores, in a line.
        framework: Package and version that it is for, as a person says it.
        packages: What has to be installed.
        imports: Its import statements.
        path: What is restored.
        gaps: What the user has to fill in; none where the artifact holds the whole model.
        body: What restores it: lines of a function.
        proof: Lines of the same function that fail where it was not restored.
        gives: What the function returns.
        notes: What is to be known of it, a sentence each.
    """

    title: str
    framework: str
    packages: tuple[str, ...]
    imports: tuple[str, ...]
    path: str
    gaps: tuple[Gap, ...]
    body: tuple[str, ...]
    proof: tuple[str, ...]
    gives: str
    notes: tuple[str, ...] = ()

    @property
    def runs_as_it_is(self) -> bool:
        """Whether nothing is left to be filled in."""
        return not self.gaps


def literal(value: object) -> str:
    """A value as Python writes it, in ASCII."""
    return ascii(value)


def comment(text: str, indent: str = "") -> list[str]:
    """Text from a file as comments: whatever is in it, it stays behind the hash."""
    shown = ascii(text)[1:-1] if not (text.isascii() and text.isprintable()) else text
    return [f"{indent}# {line}" for line in textwrap.wrap(shown, _LONGEST) or [""]]


def render(script: Script) -> str:
    """The script as text."""
    title = literal(script.title)[1:-1].replace('"""', "'''")
    whole = "It runs as it is: the artifact holds the whole model." if script.runs_as_it_is else (
        f"Fill in {', '.join(each.signature.partition('(')[0] for each in script.gaps)} below: "
        "the artifact does not hold what only your program knows."
    )  # fmt: skip
    name = literal(os.path.basename(script.path))[1:-1].replace('"', "'")
    lines = [
        f'"""Restores {name}: {title}.',
        "",
        f"Written by ckptdoctor {__version__} for {script.framework}.",
        whole,
        '"""',
        "",
    ]
    lines += [f"# pip install {' '.join(script.packages)}"]
    lines += [line for note in script.notes for line in comment(note)]
    uses = "\n".join((*script.body, *script.proof))
    own = [name for name in _STANDARD if re.search(rf"\b{name}\.", uses) or name in {"math", "sys"}]
    lines += [*(f"import {name}" for name in own), "", *script.imports, ""]
    copied = "  # copy it to this machine, and name that: most frameworks read files" if is_remote(script.path) else ""
    lines += [f"PATH = sys.argv[1] if len(sys.argv) > 1 else {literal(script.path)}{copied}"]
    if any(f"{NEAREST}(" in line for line in script.proof):
        lines += ["", "", *_NEAREST]
    for gap in script.gaps:
        lines += ["", "", *_function(gap)]
    lines += ["", "", "def restore():", f'    """Restores it, proves that, and returns {script.gives}."""']
    lines += [f"    {line}" if line else "" for line in script.body]
    if script.proof:
        lines += ["", "    # What the file holds is what the framework has now:"]
        lines += [f"    {line}" for line in script.proof]
    lines += [f"    return {script.gives}", "", "", 'if __name__ == "__main__":', "    restore()"]
    return "\n".join([*lines, f"    print({literal('restored: ' + script.title)})", ""])


def _function(gap: Gap) -> Iterable[str]:
    name = gap.signature.partition("(")[0]
    yield f"# ---- yours: {name} {'-' * (80 - len(name))}"
    yield f"def {gap.signature}:"
    yield f'    """{gap.says}"""'
    for line in gap.told:
        yield from comment(line, "    ")
    yield f"    raise NotImplementedError({literal(f'{name}: put your own here')})"


def model_gap(state: TrainingState, says: str, *, signature: str = f"{MODEL}()") -> Gap:
    """`build_model()`, with the names and shapes of the variables that it has to have."""
    shown = [
        f"{each.path}  {each.tensor.dtype}  {'x'.join(map(str, each.tensor.shape)) or 'scalar'}"
        for each in state.variables[:_MOST_VARIABLES]
    ]
    more = len(state.variables) - len(shown)
    told = ("What the artifact has of it:", *shown, *((f"and {more:,} more",) if more > 0 else ()))
    return Gap(signature, says, told if shown else ())


def listed(names: Sequence[str], indent: str = "    ") -> list[str]:
    """Names as the lines of a list literal."""
    return ["[", *(f"{indent}{literal(name)}," for name in names), "]"]
