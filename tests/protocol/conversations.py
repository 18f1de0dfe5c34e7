"""Golden conversations: messages and events in their order.

``golden/*.ndjson`` has one JSON object a line, of four kinds. Time and pids are fixed, so every line is exact.

- ``{"from": "client", "line": …}`` is a line to the sidecar. If it is not JSON, ``"text"`` has its characters, or
  ``"hex"`` its bytes, in place of ``"line"``; ``"times"`` repeats them.
- ``{"event": …, …}`` is an event of the system: ``portChosen``, ``portNotChosen``, ``prepared``,
  ``prepareFails``, ``spawned``, ``spawnFails``, ``prints``, ``probe``, ``listening`` (``places``), ``owner``,
  ``check``, ``dies``, ``wait`` (``ms``), ``swept``, ``interrupt``, ``appDies``; or of the client: ``stalls`` (it
  reads nothing, and this many ``bytes`` of output may wait for it), ``readsOn``.
- ``{"from": "server", "line": …}`` is a line from the sidecar, caused by the entries above it.
- ``{"effect": …, …}`` is what the sidecar then does to the system: ``choosePort``, ``prepare`` (where references are
  filled in, with ``known``), ``terminate``, ``kill``, ``killAll``, ``exit``.

Clients in other languages use the same files: their decoders must accept the server's lines, and their encoders must
produce the client's ``line`` objects.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from sidecar.core.events import (
    Address,
    ChoosePort,
    Effect,
    Exit,
    Kill,
    KillAll,
    Notify,
    Prepare,
    Refuse,
    Relay,
    Reply,
    Swept,
    Terminate,
)
from sidecar.errors import SidecarError
from sidecar.protocol.messages import Holder, SupervisorSwept
from sidecar.protocol.rpc import Connection, notification
from sidecar.runtime.streams import Backlog, Outbox
from tests.core.world import SERVER, World

FOLDER = Path(__file__).parent / "golden"
FILES = sorted(FOLDER.glob("*.ndjson"))
Entry = dict[str, Any]


def read(file: Path) -> list[Entry]:
    """Return the entries of a file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def write(file: Path, entries: list[Entry]) -> None:
    """Write the entries into a file, in the committed form."""
    lines = [json.dumps(entry, ensure_ascii=False, separators=(",", ":")) for entry in entries]
    file.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="\n")


def is_input(entry: Entry) -> bool:
    """Return whether the entry is an input to the sidecar."""
    return entry.get("from") == "client" or "event" in entry


def bytes_of(entry: Entry) -> bytes:
    """Return a client's entry as bytes."""
    if "line" in entry:
        data = json.dumps(entry["line"], ensure_ascii=False, separators=(",", ":")).encode()
    else:
        data = bytes.fromhex(entry["hex"]) if "hex" in entry else str(entry["text"]).encode()
    return data * int(entry.get("times", 1)) + b"\n"


class Conversation:
    """The real session and the real core, with a system in memory."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        """All entries so far."""
        self._connection = Connection(SERVER)
        self._world = World(silent=True)
        self._world.listener = self._effect
        self._outbox: Outbox | None = None
        """Messages that wait while the client reads nothing."""

    def play(self, entry: Entry) -> None:
        """Apply an input, and record what it causes after it."""
        self.entries.append(entry)
        if "event" in entry:
            self._event(**entry)
            return
        for found in self._connection.receive(bytes_of(entry)):
            if isinstance(found, bytes):
                self._says(found)
            else:
                self._world.ask(found.request, found.id)

    def _event(self, event: str, service: str = "web", **more: Any) -> None:
        world = self._world
        match event:
            case "prepared":
                if "holder" in more:
                    more["holder"] = Holder(**more["holder"])
                world.prepared(service, more.pop("port", None), **more)
            case "portChosen":
                world.chosen(service, **more)
            case "portNotChosen":
                world.not_chosen(service, _error(**more))
            case "prepareFails":
                world.prepare_fails(_error(**more), service)
            case "spawned":
                world.spawned(service)
            case "spawnFails":
                world.spawn_fails(_error(**more), service)
            case "prints":
                stream, partial = more.get("stream", "stdout"), more.get("partial", "")
                world.prints(*more["lines"], service=service, stream=stream, partial=partial)
            case "probe":
                address = msgspec.convert(more.get("address", {}), Address)
                world.probe(more["verdict"], service, more.get("detail", ""), address)
            case "listening":
                world.finds(*((host, port) for host, port in more["places"]), service=service)
            case "owner":
                world.owner(more["owner"], service if more["owner"] == "service" else None)
            case "check":
                world.check(more["verdict"], service, more.get("detail", "no answer"))
            case "dies":
                world.dies(service, more.get("code"), more.get("signal"))
            case "wait":
                world.wait(more["ms"] / 1000)
            case "swept":
                world.step(Swept(msgspec.convert(more, SupervisorSwept)))
            case "interrupt":
                world.interrupt(more["number"])
            case "appDies":
                world.app_dies()
            case "stalls":
                self._outbox = Outbox(-1)
                self._outbox._backlog = Backlog(more["bytes"])
            case "readsOn":
                assert self._outbox is not None
                waiting, self._outbox = self._outbox, None
                while waiting._backlog:
                    for line in waiting._next_batch().splitlines(keepends=True):
                        self._says(line)
            case _:
                raise AssertionError(f"no such event: {event}")

    def _effect(self, effect: Effect) -> None:
        match effect:
            case Reply(id=call, result=result):
                self._says(self._connection.succeed(call, result))
            case Refuse(id=call, error=error):
                self._says(self._connection.fail(call, error))
            case Notify(message=message):
                self._says(notification(message))
            case Relay(output=output) if self._outbox is not None:
                self._outbox.put_output(output)
            case Relay(output=output):
                self._says(notification(output.message()))
            case ChoosePort(service=service):
                self.entries.append({"effect": "choosePort", "service": service})
            case Prepare(service=service, known=known) if known:
                self.entries.append({"effect": "prepare", "service": service, "known": dict(sorted(known.items()))})
            case Terminate(service=service, signal=signal):
                self.entries.append({"effect": "terminate", "service": service, "signal": signal})
            case Kill(service=service):
                self.entries.append({"effect": "kill", "service": service})
            case KillAll():
                self.entries.append({"effect": "killAll"})
            case Exit(code=code):
                self.entries.append({"effect": "exit", "code": code})
            case _:
                pass  # internal; the events that follow show it

    def _says(self, data: bytes) -> None:
        assert data.endswith(b"\n")
        assert data.count(b"\n") == 1, "one object is one line"
        if self._outbox is not None:
            self._outbox.put(data)
            return
        self.entries.append({"from": "server", "line": json.loads(data)})


def _error(kind: str, message: str) -> SidecarError:
    kinds = {each.kind: each for each in _kinds(SidecarError)}
    return kinds[kind](message)


def _kinds(base: type[SidecarError]) -> list[type[SidecarError]]:
    return [base, *(kind for sub in base.__subclasses__() for kind in _kinds(sub))]


def played(entries: list[Entry]) -> list[Entry]:
    """Play the inputs among the entries; return the whole conversation."""
    conversation = Conversation()
    for entry in filter(is_input, entries):
        conversation.play(entry)
    return conversation.entries
