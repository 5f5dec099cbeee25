"""Policy files: `[tool.ckptdoctor]` in the nearest pyproject.toml, or `ckptdoctor.toml`, with its keys at the top."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress

from ckptdoctor.errors import UsageProblem

OWN_FILE = "ckptdoctor.toml"
PROJECT_FILE = "pyproject.toml"
_MAX_SIZE = 1 << 20
_SHOWN = 100
"""Characters of a key that a complaint repeats."""


def nearest(start: str) -> str | None:
    """The nearest policy file from a directory upwards, relative to the working directory."""
    directory = os.path.abspath(start)
    while True:
        own = os.path.join(directory, OWN_FILE)
        if os.path.isfile(own):
            return os.path.relpath(own)
        project = os.path.join(directory, PROJECT_FILE)
        if os.path.isfile(project) and _speaks_of_us(project):
            return os.path.relpath(project)
        above = os.path.dirname(directory)
        if above == directory:
            return None
        directory = above


def read(path: str) -> dict[str, object]:
    """The settings in a policy file.

    Raises:
        UsageProblem: It cannot be read, is no TOML, or has no table where the settings should stand.
    """
    document = parse(path)
    table = _tools(document, path).get("ckptdoctor", {}) if os.path.basename(path) == PROJECT_FILE else document
    if not isinstance(table, dict):
        raise UsageProblem("[tool.ckptdoctor] is not a table", path)
    return dict(table)


def _tools(document: Mapping[str, object], path: str) -> Mapping[str, object]:
    tools = document.get("tool", {})
    if not isinstance(tools, Mapping):
        raise UsageProblem("[tool] is not a table", path)
    return tools


def _speaks_of_us(project: str) -> bool:
    """Whether a pyproject.toml has a table of ours; most have none, and their bytes tell without the parser."""
    with suppress(OSError), open(project, "rb") as file:  # what cannot be read is complained of below
        if b"ckptdoctor" not in file.read(_MAX_SIZE + 1):
            return False
    return "ckptdoctor" in _tools(parse(project), project)


def parse(path: str) -> dict[str, object]:
    """A TOML file.

    Raises:
        UsageProblem: It cannot be read, or is none.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        if os.path.getsize(path) > _MAX_SIZE:
            raise UsageProblem(f"a configuration of more than {_MAX_SIZE:,} bytes is not read", path)
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise UsageProblem(f"the configuration cannot be read: {error.strerror}", path) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageProblem(f"the configuration is not TOML: {error}", path) from error
    except ValueError as error:  # a number of more digits than Python reads; it does not say which
        raise UsageProblem(f"{_endless(path)} has more digits than any number that is meant", path) from error


def _endless(path: str) -> str:
    """The key of the longest number in a configuration."""
    import re

    with open(path, encoding="utf-8") as file:
        found = [(max(map(len, re.findall(r"[\d_]+", line)), default=0), line) for line in file]
    line = max(found)[1]
    return line.partition("=")[0].strip()[:_SHOWN] if "=" in line else "a number"
