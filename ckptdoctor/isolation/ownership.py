"""Whose process this is: the command line's own may be forked, which makes a cheap worker.

Somebody else's process (a notebook, a training script) is never forked: locks that its threads hold and its open
descriptors would come along. A worker is then a new interpreter.
"""

from __future__ import annotations

_ours = False


def claim() -> None:
    """Says that this process is ckptdoctor's own; the command line does, first of all."""
    global _ours  # noqa: PLW0603 - said once
    _ours = True


def is_ours() -> bool:
    """Whether it is."""
    return _ours
