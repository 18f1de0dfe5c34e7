"""What a test says to a sidecar and hears from it, apart from how the bytes go: see tests/client.py."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from tests.command import Message, Refused


class Conversation(ABC):
    """A JSON-RPC client."""

    patience_s: float
    """For what must come."""

    def __init__(self) -> None:
        self._rest = b""
        self._calls = 0
        self.ended = False
        self.said: list[Message] = []
        """All that was read, in order."""

    @abstractmethod
    def raw(self, data: bytes) -> None:
        """Send bytes, and read meanwhile: a sidecar that waits for us to read must not wait for ever."""

    @abstractmethod
    def _await_bytes(self, seconds: float) -> None:
        """Wait for bytes or their end, at most so long, and ``_take`` them."""

    def _take(self, data: bytes) -> None:
        self.ended = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.said += [json.loads(line) for line in lines]

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def send(self, method: str, **params: object) -> int:
        """Send a request; its id."""
        return self.send_at_once((method, params))[0]

    def send_at_once(self, *requests: tuple[str, Message]) -> list[int]:
        """Send requests in one write, so that none is answered before the last has come; their ids."""
        first, self._calls = self._calls + 1, self._calls + len(requests)
        calls = list(range(first, self._calls + 1))
        lines = [
            {"jsonrpc": "2.0", "id": call, "method": method, "params": params}
            for call, (method, params) in zip(calls, requests, strict=True)
        ]
        self.raw(b"".join(json.dumps(it).encode() + b"\n" for it in lines))
        return calls

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
        deadline = time.monotonic() + self.patience_s
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
            self._await_bytes(left)

    def read_to_end(self) -> None:
        """Read until the sidecar's stdout ends."""
        deadline = time.monotonic() + self.patience_s
        while not self.ended:
            left = deadline - time.monotonic()
            assert left > 0, "stdout does not end"
            self._await_bytes(left)
