"""A JSON-RPC client that reads only when it is asked to, so that a test decides how slow it is. It has no threads."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from collections.abc import Callable

if sys.platform == "win32":
    raise ImportError("select takes no pipes here")

from tests.command import Message, Refused

WAIT_S = 30.0
"""For what must come: far more than it takes on two busy cores."""


class Client:
    """Speaks over two descriptors, which stay their owner's."""

    def __init__(self, to_sidecar: int, from_sidecar: int) -> None:
        self._to = to_sidecar
        self._from = from_sidecar
        self._rest = b""
        self._calls = 0
        self.ended = False
        self.said: list[Message] = []
        """All that was read, in order."""

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def raw(self, data: bytes) -> None:
        """Send bytes, and read meanwhile: a sidecar that waits for us to read must not wait for ever."""
        view = memoryview(data)
        deadline = time.monotonic() + WAIT_S
        while view:
            assert time.monotonic() < deadline, "the sidecar takes no more bytes"
            readable, writable, _ = select.select([] if self.ended else [self._from], [self._to], [], WAIT_S)
            if writable:
                view = view[os.write(self._to, view[: select.PIPE_BUF]) :]
            if readable:
                self._read()

    def send(self, method: str, **params: object) -> int:
        """Send a request; its id."""
        self._calls += 1
        request = {"jsonrpc": "2.0", "id": self._calls, "method": method, "params": params}
        self.raw(json.dumps(request).encode() + b"\n")
        return self._calls

    def answer(self, call: int) -> Message:
        """The answer to a request. Raises ``Refused``."""
        message = self.find(lambda it: it.get("id") == call and "method" not in it, f"the answer to {call}")
        if "error" in message:
            raise Refused(message["error"])
        result: Message = message["result"]
        return result

    def call(self, method: str, **params: object) -> Message:
        """Send a request and await its answer. Raises ``Refused``."""
        return self.answer(self.send(method, **params))

    def hello(self, services: Message) -> Message:
        """Initialize."""
        return self.call("initialize", protocolVersion=1, client={"name": "test"}, services=services)

    def start_all(self, services: Message) -> None:
        """Start them and await each."""
        for call in [self.send("start", service=name) for name in services]:
            self.answer(call)

    def status(self, service: str) -> Message:
        """The service's status now."""
        status: Message = self.call("status", service=service)["services"][service]
        return status

    # ── listening ────────────────────────────────────────────────────────────────────────────────────────────────────

    def note(self, method: str, *, since: int = 0, **wanted: object) -> Message:
        """The params of the first such notification whose fields are as ``wanted``, from ``said[since]`` on."""

        def fits(message: Message) -> bool:
            params = message.get("params", {})
            return message.get("method") == method and all(params.get(name) == it for name, it in wanted.items())

        params: Message = self.find(fits, f"{method} {wanted}", since)["params"]
        return params

    def notes(self, method: str) -> list[Message]:
        """The params of all such notifications that were read."""
        return [it["params"] for it in self.said if it.get("method") == method]

    def printed(self, service: str, text: str) -> None:
        """Wait for a line of the service's output with ``text`` in it."""

        def fits(message: Message) -> bool:
            params = message.get("params", {})
            return (
                message.get("method") == "service/log"
                and params["service"] == service
                and any(text in line for line in params["lines"])
            )

        self.find(fits, f"{text!r} printed by {service}")

    def find(self, wanted: Callable[[Message], bool], what: str, since: int = 0) -> Message:
        """The first message like that; waits for it."""
        deadline = time.monotonic() + WAIT_S
        at = since
        while True:
            for message in self.said[at:]:
                if wanted(message):
                    return message
            at = max(at, len(self.said))
            left = deadline - time.monotonic()
            last = [json.dumps(it)[:300] for it in self.said[-10:]]
            assert not self.ended, f"the sidecar ended before {what}; it said last {last}"
            assert left > 0, f"awaited in vain: {what}; said last {last}"
            if select.select([self._from], [], [], left)[0]:
                self._read()

    def read_to_end(self) -> None:
        """Read until the sidecar's stdout ends."""
        deadline = time.monotonic() + WAIT_S
        while not self.ended:
            assert select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))[0], "stdout does not end"
            self._read()

    def _read(self) -> None:
        try:
            data = os.read(self._from, 65_536)
        except BlockingIOError:
            return  # a test made the pipe non-blocking, and another reader of it was quicker
        self.ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.said += [json.loads(line) for line in lines]
