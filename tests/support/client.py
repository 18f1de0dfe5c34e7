"""A JSON-RPC client without threads. It reads only when a test asks it to, so a test can make it slow."""

from __future__ import annotations

import os
import select
import sys
import time

if sys.platform == "win32":
    raise ImportError("select takes no pipes here")

from tests.support.conversation import Conversation
from tests.support.waiting import WAIT_S


class Client(Conversation):
    """Speaks over two descriptors. It does not close them."""

    patience_s = WAIT_S

    def __init__(self, to_sidecar: int, from_sidecar: int) -> None:
        super().__init__()
        self._to = to_sidecar
        self._from = from_sidecar

    def raw(self, data: bytes) -> None:
        """Send bytes and read meanwhile. Otherwise a sidecar that waits for us to read would wait forever."""
        view = memoryview(data)
        deadline = time.monotonic() + WAIT_S
        while view:
            assert time.monotonic() < deadline, "the sidecar takes no more bytes"
            readable, writable, _ = select.select([] if self.ended else [self._from], [self._to], [], WAIT_S)
            if writable:
                try:
                    view = view[os.write(self._to, view[: select.PIPE_BUF]) :]
                except BrokenPipeError:
                    self.read_to_end()
                    raise AssertionError("the sidecar ended before it had read the request") from None
            if readable:
                self._read()

    def _await_bytes(self, seconds: float) -> None:
        if select.select([self._from], [], [], seconds)[0]:
            self._read()

    def _read(self) -> None:
        try:
            data = os.read(self._from, 65_536)
        except BlockingIOError:
            return  # a test made the pipe non-blocking, and another reader of it was quicker
        self._take(data)
