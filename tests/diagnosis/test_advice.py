"""Every command that a finding advises is run, with an artifact of the museum for each word that stands for one."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from click.testing import CliRunner

from ckptdoctor.cli import cli
from ckptdoctor.examination import Examination
from ckptdoctor.report.shared.facts import hint_parts
from ckptdoctor.state import Format, Status

Record: TypeAlias = Mapping[str, Any]


class Advice(NamedTuple):
    """A command that a finding advises.

    Attributes:
        code: The rule.
        of: The artifact.
        words: The command.
    """

    code: str
    of: Examination
    words: tuple[str, ...]

    @property
    def kind(self) -> tuple[object, ...]:
        """What is the same for advice of one kind: two artifacts of it need not both be tried."""
        (optimizer, *_) = self.of.optimizers or (None,)
        options = tuple(word for word in self.words if word.startswith("--"))
        return self.code, self.of.format, getattr(optimizer, "generation", None), options


def advised(found: Examination) -> Iterator[Advice]:
    """The commands in the hints of an artifact's findings."""
    for each in found.findings:
        command = hint_parts(each.hint)[1]
        if command:
            yield Advice(each.code, found, tuple(shlex.split(command)))


def model(found: Examination) -> tuple[tuple[int, ...], ...]:
    """The shapes of a model's variables, in any order: models of one script share them."""
    assert found.state is not None
    return tuple(sorted(each.tensor.shape for each in found.state.variables))


def attempts(advice: Advice, alike: list[Examination], out: Path) -> Iterator[list[str]]:
    """The command with DONOR, MODEL, N, RATE and CLASS replaced by what fits, one after another."""
    named = {each.class_name for each in advice.of.optimizers if each.class_name}
    complete = [
        each
        for each in alike
        if each.status is Status.COMPLETE and (not named or each.optimizers[0].class_name in named)
    ]
    # Of the same producer first: the museum's paths begin with it.
    complete.sort(key=lambda each: -SequenceMatcher(None, each.path, advice.of.path).find_longest_match().size)
    ending = next((word.removeprefix("MODEL") for word in advice.words if word.startswith("MODEL.")), None)
    models = [each for each in alike if ending is not None and _called(each, ending)]
    for donor in complete:
        for target in models or [advice.of]:
            given = {
                "DONOR": donor.resolved,
                "N": "7",
                "RATE": "0.001",
                "CLASS": donor.optimizers[0].class_name or "Adam",
            }
            words = [given.get(word, word) for word in advice.words[1:]]
            if ending is not None:
                words = [target.resolved if word == f"MODEL{ending}" else word for word in words]
            at = words.index("--output") + 1
            words[at] = str(out / Path(words[at]).name)
            yield words


def _called(found: Examination, ending: str) -> bool:
    formats = {".keras": Format.KERAS_ARCHIVE, ".weights.h5": Format.KERAS_WEIGHTS, ".h5": Format.KERAS_H5}
    return found.format is formats.get(ending) and found.resolved.endswith(ending)


def test_every_kind_of_advice(museum_examined: dict[str, Examination], tmp_path: Path) -> None:
    """Each command is one that the command line takes, and does what it says with a donor that fits."""
    alike: dict[object, list[Examination]] = defaultdict(list)
    for found in museum_examined.values():
        alike[model(found)].append(found)
    kinds: dict[tuple[object, ...], list[Advice]] = defaultdict(list)
    for found in museum_examined.values():
        for advice in advised(found):
            kinds[advice.kind].append(advice)
    failed: dict[str, str] = {}
    run = 0
    for number, several in enumerate(kinds.values()):
        out = tmp_path / str(number)
        out.mkdir()
        said = ""
        for advice in several[:6]:
            for words in list(attempts(advice, alike[model(advice.of)], out))[:12]:
                result = CliRunner().invoke(cli, words)
                assert result.exit_code in {0, 4}, (advice.code, words, result.output)
                said = f"{shlex.join(words)}: {result.output.strip()}"
                if result.exit_code == 0:
                    run += 1
                    break
            else:
                continue
            break
        else:
            if said:  # else the museum has nothing that fits
                failed[f"{several[0].kind}"] = said
    assert not failed, "\n\n".join(f"{kind}\n{said}" for kind, said in failed.items())
    assert run >= 12
