"""``sidecar stdio``: the supervisor as a Tauri app uses it, with JSON-RPC over stdin and stdout."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial

from sidecar import __version__
from sidecar.core.events import AppGone, Event, Output
from sidecar.core.supervisor import Supervisor
from sidecar.host.base import Session
from sidecar.host.fds import hung_up, read_some
from sidecar.protocol.messages import AnyNotification, Failure, Id, Result, Server
from sidecar.protocol.rpc import Connection, notification
from sidecar.runtime.loop import Call, Inbox, Runtime
from sidecar.runtime.run import Run, all_is_loaded, jitter, new_token
from sidecar.runtime.streams import Outbox
from sidecar.services.patterns import matches_in_time
from sidecar.state.log_files import log_files_of
from sidecar.threads import start_thread

REQUESTS_IN_FLIGHT = 8
"""How many reads of stdin may wait for the loop."""

FLUSH_S = 1.0
"""How long a client has at the end to read the last lines. Everything else is over by then."""


class StdioFront:
    """The client at the other end of the pipes."""

    def __init__(self, outbox: Outbox, server: Server | None = None) -> None:
        """Write through ``outbox``. ``server`` names this sidecar."""
        self._outbox = outbox
        self._connection = Connection(server)

    def reply(self, call: Id, result: Result) -> None:
        """See ``runtime.base.Front``."""
        self._outbox.put(self._connection.succeed(call, result))

    def refuse(self, call: Id, error: Failure) -> None:
        """See ``runtime.base.Front``."""
        self._outbox.put(self._connection.fail(call, error))

    def notify(self, message: AnyNotification) -> None:
        """See ``runtime.base.Front``."""
        self._outbox.put(notification(message))

    def relay(self, output: Output) -> None:
        """See ``runtime.base.Front``."""
        self._outbox.put_output(output)

    def pace(self) -> None:
        """See ``runtime.base.Front``."""
        self._outbox.pace()

    def close(self) -> None:
        """See ``runtime.base.Front``."""
        self._outbox.flush(FLUSH_S)

    def receive(self, data: bytes) -> Iterator[Event]:
        """Turn the client's bytes (empty at the end) into events. Answer an invalid request in order."""
        for message in self._connection.receive(data) if data else self._connection.finish():
            if isinstance(message, bytes):
                self._outbox.put(message)
            else:
                yield message


def serve(session: Session) -> int:
    """Run the supervisor until the client, the app or a signal ends it; return the exit code."""
    requests, answers = take_standard_streams()
    inbox = Inbox()
    run = Run(session, inbox)
    server = Server("tauri-sidecar", __version__)
    core = Supervisor(server, os.getpid(), run.host.guarantees(), jitter, new_token, matches_in_time)
    outbox = Outbox(answers)
    front = StdioFront(outbox, server)
    start_thread("answers", outbox.run)
    read = partial(_read_requests, requests, front, outbox, inbox)
    start_thread("requests", partial(run.read_stdin, read))
    all_is_loaded()
    code = Runtime(core, run, front, inbox, log_files=log_files_of(".")).run()
    run.end()
    return code


def _read_requests(fd: int, front: StdioFront, outbox: Outbox, inbox: Inbox) -> None:
    """Read requests, in the reader's thread. The end of stdin means that the app is gone."""
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
    """Move stdin and stdout to other descriptors, so that only the protocol uses them.

    From here on descriptor 0 is empty and descriptor 1 is stderr, so no child or stray print can touch the protocol.
    """
    requests, answers = os.dup(0), os.dup(1)  # dup makes them non-inheritable
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return requests, answers
