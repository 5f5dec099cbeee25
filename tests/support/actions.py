"""A GitHub runner, as far as a composite action needs one: its steps run with bash, in the same variables and files."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

_EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")
_KEPT = re.compile(r"PATH|HOME|LANG|LC_.*|TMPDIR|PYTHONPATH|PIP_.*|UV_.*|SSL_.*|(?i:https?_proxy|no_proxy)")
"""A runner's own variables, that steps inherit."""


class Job(NamedTuple):
    """How an action ended.

    Attributes:
        code: Of the step that failed; 0 if none did.
        log: What its steps printed, on both streams.
        outputs: Of the action.
        summary: The job summary, with what it held before.
    """

    code: int
    log: str
    outputs: dict[str, str]
    summary: str


@dataclass
class Runner:
    """Runs a composite action.

    Attributes:
        action: The checkout of the action.
        workspace: Where the job's own files are.
        temporary: RUNNER_TEMP.
        given: Steps that are not run, and their outputs: `uses` steps have to be here.
        summary: What earlier steps of the job have written into the summary.
    """

    action: Path
    workspace: Path
    temporary: Path
    given: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    summary: str = ""

    def __call__(self, **inputs: str) -> Job:
        """Runs the action with these inputs, `_` for `-` in their names."""
        document = yaml.safe_load((self.action / "action.yml").read_text(encoding="utf-8"))
        assert document["runs"]["using"] == "composite"
        named = {name.replace("_", "-"): value for name, value in inputs.items()}
        assert set(named) <= set(document["inputs"]), "GitHub warns of unknown inputs"
        values = {name: str(about.get("default", "")) for name, about in document["inputs"].items()} | named
        known = {f"inputs.{name}": value for name, value in values.items()}
        summary = self.temporary / "step_summary"
        summary.write_text(self.summary, encoding="utf-8")
        code, log = 0, ""
        for step in document["runs"]["steps"]:
            outputs: Mapping[str, str] = self.given.get(step["id"], {})
            if step["id"] not in self.given:
                assert "run" in step, f"nobody runs {step}"
                code, said, outputs = self._run(step, known, summary)
                log += said
            known |= {f"steps.{step['id']}.outputs.{name}": value for name, value in outputs.items()}
            if code:
                break
        # The outputs of an action are set whether its steps failed or not (actions/runner, CompositeActionHandler).
        exported = {name: _expanded(about["value"], known) for name, about in document["outputs"].items()}
        return Job(code, log, exported, summary.read_text(encoding="utf-8"))

    def _run(self, step: Mapping[str, Any], known: Mapping[str, str], summary: Path) -> tuple[int, str, dict[str, str]]:
        script = self.temporary / f"{step['id']}.sh"
        script.write_text(step["run"], encoding="utf-8")
        output = self.temporary / f"{step['id']}.output"
        output.touch()
        assert step["shell"] == "bash"
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.workspace,
            env={
                **{name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)},
                "CI": "true",
                "GITHUB_ACTIONS": "true",
                "GITHUB_ACTION_PATH": str(self.action),
                "GITHUB_OUTPUT": str(output),
                "GITHUB_STEP_SUMMARY": str(summary),
                "GITHUB_WORKSPACE": str(self.workspace),
                "RUNNER_TEMP": str(self.temporary),
                **{name: _expanded(value, known) for name, value in step.get("env", {}).items()},
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            check=False,
            timeout=300,
        )
        pairs = (line.partition("=") for line in output.read_text(encoding="utf-8").splitlines())
        return done.returncode, done.stdout, {name: value for name, _, value in pairs}


def _expanded(text: object, known: Mapping[str, str]) -> str:
    """What stands in `${{ }}`; outputs of steps that did not run are empty."""
    return _EXPRESSION.sub(lambda match: known.get(match[1], ""), str(text))
