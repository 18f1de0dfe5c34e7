"""The conversation of a test with a sidecar. tests/support/client.py moves the bytes."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from tests.support.command import Message, Refused


class Conversation(ABC):
    """A JSON-RPC client."""

    patience_s: float
    """How long to wait for an expected message."""

    def __init__(self) -> None:
        self._rest = b""
        self._calls = 0
        self.ended = False
        self.said: list[Message] = []
        """All messages that were read, in order."""

    @abstractmethod
    def raw(self, data: bytes) -> None:
        """Send bytes and read meanwhile. Otherwise a sidecar that waits for us to read would wait forever."""

    @abstractmethod
    def _await_bytes(self, seconds: float) -> None:
        """Wait at most this long for bytes or their end, and ``_take`` them."""

    def _take(self, data: bytes) -> None:
        self.ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.said += [json.loads(line) for line in lines]

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, method: str, **params: object) -> int:
        """Send a request; return its id."""
        return self.send_at_once((method, params))[0]

    def send_at_once(self, *requests: tuple[str, Message]) -> list[int]:
        """Send requests in one write, so that the sidecar has all before it answers any; return their ids."""
        first, self._calls = self._calls + 1, self._calls + len(requests)
        calls = list(range(first, self._calls + 1))
        lines = [
            {"jsonrpc": "2.0", "id": call, "method": method, "params": params}
            for call, (method, params) in zip(calls, requests, strict=True)
        ]
        self.raw(b"".join(json.dumps(it).encode() + b"\n" for it in lines))
        return calls

    def answer(self, call: int) -> Message:
        """Await the answer to a request. Raises ``Refused``."""
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
        """Start all services, and await each answer."""
        for call in [self.send("start", service=name) for name in services]:
            self.answer(call)

    def status(self, service: str) -> Message:
        """Ask for the service's status."""
        status: Message = self.call("status", service=service)["services"][service]
        return status

    # ── listening ────────────────────────────────────────────────────────────────────────────────────────────────────

    def note(self, method: str, *, since: int = 0, **wanted: object) -> Message:
        """Await a notification with the ``wanted`` fields, from ``said[since]`` on; return its params."""

        def fits(message: Message) -> bool:
            params = message.get("params", {})
            return message.get("method") == method and all(params.get(name) == it for name, it in wanted.items())

        params: Message = self.find(fits, f"{method} {wanted}", since)["params"]
        return params

    def notes(self, method: str) -> list[Message]:
        """Return the params of all such notifications that were read."""
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
        """Await the first message that is ``wanted``."""
        deadline = time.monotonic() + self.patience_s
        at = since
        while True:
            for message in self.said[at:]:
                if wanted(message):
                    return message
            at = max(at, len(self.said))
            left = deadline - time.monotonic()
            last = [json.dumps(it)[:300] for it in self.said[-10:]]
            assert not self.ended, f"the sidecar ended before {what}; its last messages: {last}"
            assert left > 0, f"timed out waiting for {what}; last messages: {last}"
            self._await_bytes(left)

    def read_to_end(self) -> None:
        """Read until the sidecar's stdout ends."""
        deadline = time.monotonic() + self.patience_s
        while not self.ended:
            left = deadline - time.monotonic()
            assert left > 0, "stdout does not end"
            self._await_bytes(left)
