"""Ctrl-C while the network is waited for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from threading import Thread, current_thread, main_thread
from typing import Any, ParamSpec, TypeVar, cast

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def interruptible(function: Callable[_Given, _Result]) -> Callable[_Given, _Result]:
    """Has a function that only reads wait in a thread of its own, where it is called by the main one.

    Python hears Ctrl-C between two of its own steps; obstore waits in Rust, for a minute where a server is silent.
    """

    @wraps(function)
    def run(*args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        if current_thread() is not main_thread():
            return function(*args, **kwargs)
        answer: list[Any] = []
        failed: list[BaseException] = []

        def wait() -> None:
            try:
                answer.append(function(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                failed.append(error)

        thread = Thread(target=wait, daemon=True)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return cast(_Result, answer[0])

    return run
