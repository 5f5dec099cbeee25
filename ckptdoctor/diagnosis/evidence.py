"""What rules judge: everything that was read of one artifact or one run directory, and nothing that opens a file."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.diagnosis.mending import repair_of
from ckptdoctor.diagnosis.status import in_use
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.registry import record
from ckptdoctor.references import TensorRef
from ckptdoctor.state import NOTHING, ModelVariable, Oddity, OptimizerState, TrainingState

if TYPE_CHECKING:
    from ckptdoctor.containers.tensors.values import Statistics
    from ckptdoctor.diagnosis.expected import Expected
    from ckptdoctor.diagnosis.loaders import Loader
    from ckptdoctor.diagnosis.run_directory import RunDirectory
    from ckptdoctor.diagnosis.scan import Scan


class Evidence(NamedTuple):
    """What is known of one artifact, or of a run directory as a whole.

    Attributes:
        path: The file, directory or prefix that was read: hints name it.
        state: What the artifact holds; None if it cannot be read, or for a run directory.
        error: Why it cannot be read.
        scan: What reading every byte has shown; None if that was not asked for.
        statistics: Figures per tensor, where they were asked for.
        loader: What the artifact will be loaded with; None if nobody said.
        run: The run directory that is judged as a whole; None for an artifact.
        expected: What the policy asks of it; None without a policy.
    """

    path: str
    state: TrainingState | None = None
    error: UnreadableArtifact | None = None
    scan: "Scan | None" = None
    statistics: "Mapping[TensorRef, Statistics | None]" = NOTHING
    loader: "Loader | None" = None
    run: "RunDirectory | None" = None
    expected: "Expected | None" = None

    @property
    def optimizers(self) -> tuple[OptimizerState, ...]:
        """The optimizers of the artifact, but for one that Keras made and nobody uses."""
        return in_use(self.state) if self.state is not None else ()

    @property
    def variables(self) -> tuple[ModelVariable, ...]:
        """The model's variables."""
        return self.state.variables if self.state is not None else ()

    @property
    def oddities(self) -> tuple[Oddity, ...]:
        """What the reader noticed."""
        return self.state.oddities if self.state is not None else ()


Found: TypeAlias = tuple[str, str] | tuple[str, str, Severity]
"""Message and hint, and what it weighs where that is not the rule's own severity."""


class Rule(NamedTuple):
    """A rule: `find` answers (message, hint) for each thing that it finds.

    Attributes:
        code: Never changes its meaning. The first letter is the family.
        name: The same in words.
        severity: The default.
        says: What it says, for tables.
        find: A pure function of the evidence.
        deep: It needs a scan of every byte.
    """

    code: str
    name: str
    severity: Severity
    says: str
    find: Callable[[Evidence], Iterator[Found]]
    deep: bool = False


Hint: TypeAlias = str | Callable[[Evidence], str]
"""What to do about it, the same for all artifacts or not."""


def is_noticed(evidence: Evidence, code: str) -> bool:
    """Whether readers saw the thing themselves."""
    told = evidence.error.code if evidence.error is not None else None
    return told == code or any(each.code == code for each in evidence.oddities)


def noticed(code: str, hint: Hint = "") -> Callable[[Evidence], Iterator[tuple[str, str]]]:
    """The rule's function where readers see the thing themselves: their oddities and errors of this code."""

    def find(evidence: Evidence) -> Iterator[tuple[str, str]]:
        if evidence.error is not None and evidence.error.code == code:
            yield str(evidence.error), hint if isinstance(hint, str) else ""
        for each in evidence.oddities:
            if each.code == code:
                mends = each.fix and evidence.state is not None and record(evidence.state.format).mended
                own = repair_of(evidence, each.fix) if mends else ""
                yield each.message, own or (hint if isinstance(hint, str) else hint(evidence))

    return find
