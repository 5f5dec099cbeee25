"""A worker in the hands of a hostile file asks, and does not read the answer."""

from __future__ import annotations

import os
import threading

import pytest

from ckptdoctor.isolation import messages


def test_an_answer_that_nobody_reads() -> None:
    """Sending it ends; read it is whole."""
    reader, writer = os.pipe()
    try:
        with pytest.raises(TimeoutError):
            messages.send(writer, b"x" * (1 << 20), 0.1)
    finally:
        os.close(reader)
        os.close(writer)
    reader, writer = os.pipe()
    data = os.urandom(1 << 20)
    sending = threading.Thread(target=messages.send, args=(writer, data, 10.0))
    sending.start()
    assert messages.receive(reader, messages.trusted) == data
    sending.join()
    os.close(reader)
    os.close(writer)
