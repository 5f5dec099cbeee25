"""What was asked of the network."""

from __future__ import annotations

from threading import Lock


class Traffic:
    """Requests that read, and the bytes that came."""

    def __init__(self) -> None:
        self.requests = 0
        self.bytes = 0
        self._lock = Lock()

    def add(self, nbytes: int) -> None:
        """One more request."""
        with self._lock:
            self.requests += 1
            self.bytes += nbytes
