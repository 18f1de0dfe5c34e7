"""The supervisor as a Tauri app uses it: JSON-RPC over stdin and stdout."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial

from sidecar import __version__
from sidecar.core.supervisor import Supervisor
from sidecar.events import AppGone, Event, Output
from sidecar.host.base import Tether
from sidecar.host.fds import hung_up, read_some
from sidecar.host.patterns import matches_in_time
from sidecar.parent import Run, jitter
from sidecar.pumps import Outbox
from sidecar.runtime import Call, Inbox, Runtime
from sidecar.threads import start_thread
from sidecar.wire.messages import AnyNotification, Failure, Id, Result, Server
from sidecar.wire.session import Session, notification

REQUESTS_IN_FLIGHT = 8
"""So many reads of the client may wait for the loop."""

FLUSH_S = 1.0
"""At the end, so long may a client take to read what waits. Everything is dead by then, so nothing else waits."""


class StdioFront:
    """The client at the other end of the pipes."""

    def __init__(self, outbox: Outbox) -> None:
        """Write through ``outbox``."""
        self._outbox = outbox
        self._session = Session()

    def reply(self, call: Id, result: Result) -> None:
        """See ``runtime.Front``."""
        self._outbox.put(self._session.succeed(call, result))

    def refuse(self, call: Id, error: Failure) -> None:
        """See ``runtime.Front``."""
        self._outbox.put(self._session.fail(call, error))

    def notify(self, message: AnyNotification) -> None:
        """See ``runtime.Front``."""
        self._outbox.put(notification(message))

    def relay(self, output: Output) -> None:
        """See ``runtime.Front``."""
        self._outbox.put_output(output)

    def pace(self) -> None:
        """See ``runtime.Front``."""
        self._outbox.pace()

    def close(self) -> None:
        """See ``runtime.Front``."""
        self._outbox.flush(FLUSH_S)

    def receive(self, data: bytes) -> Iterator[Event]:
        """Bytes of the client (empty at their end) → events; what is no request is refused, in its turn."""
        for message in self._session.receive(data) if data else self._session.finish():
            if isinstance(message, bytes):
                self._outbox.put(message)
            else:
                yield message


def serve(tether: Tether) -> int:
    """Be the supervisor until the client, the app, or a signal ends it; the exit code."""
    requests, answers = take_standard_streams()
    inbox = Inbox()
    run = Run(tether, inbox)
    core = Supervisor(Server("tauri-sidecar", __version__), os.getpid(), run.host.guarantees(), jitter, matches_in_time)
    outbox = Outbox(answers)
    front = StdioFront(outbox)
    start_thread("answers", outbox.run)
    start_thread("requests", partial(_read_requests, requests, front, outbox, inbox))
    code = Runtime(core, run, front, inbox).run()
    run.end()
    return code


def _read_requests(fd: int, front: StdioFront, outbox: Outbox, inbox: Inbox) -> None:
    """The reader thread's body: requests in, then the end of stdin, which is the app's death."""
    room = threading.Semaphore(REQUESTS_IN_FLIGHT)

    def take(data: bytes) -> Iterator[Event]:
        yield from front.receive(data)
        room.release()

    while outbox.wait_for_room(partial(hung_up, fd)):
        data = read_some(fd)
        room.acquire()
        inbox.put(Call(partial(take, data)))
        if not data:
            break
    inbox.put(AppGone("stdin has ended"))


def take_standard_streams() -> tuple[int, int]:
    """Keep stdin and stdout for the protocol, under other numbers: nothing else may read or write them.

    From here on descriptor 0 is empty and descriptor 1 is stderr, for a stray print of any library and for every child.
    """
    requests, answers = os.dup(0), os.dup(1)  # dup makes them non-inheritable
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return requests, answers
