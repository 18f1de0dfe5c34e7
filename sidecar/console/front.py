"""The supervisor's one client, where a person sits: asks for the services, and for the end once one has failed."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Protocol

import msgspec

from sidecar import __version__
from sidecar.config import Service, ready_probe
from sidecar.diagnostics import say
from sidecar.errors import ShuttingDownError, SupersededError
from sidecar.events import Event, Output
from sidecar.pumps import Outbox
from sidecar.runtime import Call, Inbox
from sidecar.threads import start_thread
from sidecar.wire.messages import (
    PROTOCOL_VERSION,
    AnyNotification,
    AnyRequest,
    Client,
    Failure,
    Id,
    Initialize,
    Result,
    ServiceExited,
    ServiceReady,
    ServiceRestarting,
    ServiceState,
    Shutdown,
    Start,
)
from sidecar.wire.session import Received, notification

FLUSH_S = 3.0
"""At the end, so long may what waits take to be written (Ctrl-S may hold the terminal). All else is over by then."""

EARLY_S = 5.0
"""A program that ends by itself so soon, and was never ready, would do so again: the person is to see why, now."""

EXIT_FAILED = 1
SIGNALLED = 128
"""A shell adds the signal's number to it."""

FindPlaces = Callable[[str, Callable[[], bool], Callable[[str, int, str], None]], None]
"""Tells of each (address, port, URL) of a service, while it lives."""

MOOT = {SupersededError.code, ShuttingDownError.code}
"""Refusals that only say that the end came first."""


class Display(Protocol):
    """Where it is shown."""

    def show(self, message: AnyNotification) -> None:
        """Something happened."""
        ...

    def relay(self, output: Output) -> None:
        """The program wrote something."""
        ...

    def fail(self, error: Failure) -> None:
        """The service failed for good; nothing of it is left."""
        ...

    def close(self) -> None:
        """Write what waits, within a bound."""
        ...


class DevFront:
    """See ``runtime.Front``."""

    def __init__(
        self,
        page: str,
        inbox: Inbox,
        display: Display,
        open_page: Callable[[str], None] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``open_page`` is called with the URL when the service ``page`` is ready for the first time.

        ``clock`` gives seconds.
        """
        self._page = page
        self._running: set[str] = set()
        self._inbox = inbox
        self._display = display
        self._open_page = open_page
        self._calls = itertools.count(1)
        self._clock = clock
        self._began = clock()
        self._unprobed: set[str] = set()
        self._find_places: FindPlaces | None = None
        self._alive: dict[str, ServiceReady] = {}
        """The runs of services without a probe: where they listen is being found out."""
        self._proven: set[str] = set()
        """The services that have been ready, as far as anything says so."""
        self._stopping: set[str] = set()
        """The services that are being stopped: their exit code is the answer to our signal."""
        self._codes: dict[str, int] = {}
        """The last exit code of each service that has ended before it was ready."""
        self.failed = False
        self.exit_code = 0
        """What a failed service leaves for the shell."""

    def begin(self, services: Mapping[str, Service], find_places: FindPlaces | None = None) -> None:
        """Ask for the services. ``find_places`` finds out where those listen that are told no port."""
        self._find_places = find_places
        self._running.update(services)
        self._unprobed.update(name for name, config in services.items() if ready_probe(config) is None)
        self._began = self._clock()
        configs: dict[str, object] = {name: msgspec.to_builtins(config) for name, config in services.items()}
        self.ask(Initialize(PROTOCOL_VERSION, Client("sidecar dev", __version__), configs))
        for name in services:
            self.ask(Start(name))

    def ask(self, request: AnyRequest) -> None:
        """Send a request; what comes of it comes as notifications."""
        self._inbox.put(Received(next(self._calls), request))

    def reply(self, call: Id, result: Result) -> None:
        """See ``runtime.Front``."""

    def refuse(self, call: Id, error: Failure) -> None:
        """See ``runtime.Front``. A service that failed has said so before, in its state."""
        del call  # whichever it was, it cannot be done
        if error.code not in MOOT:
            self._fail(None, error)

    def notify(self, message: AnyNotification) -> None:
        """See ``runtime.Front``."""
        if self.failed and isinstance(message, ServiceRestarting):
            return  # the core would try again; the end is on its way
        self._display.show(message)
        match message:
            case ServiceReady(service=name, url=None) if name in self._unprobed:
                self._look_for_places(message)
            case ServiceReady(service=name):
                self._proven.add(name)
            case ServiceState(service=name, state="stopping"):
                self._alive.pop(name, None)
                self._stopping.add(name)
            case ServiceState(service=name, state=state):
                self._stopping.discard(name)
                if state not in {"ready", "unhealthy"}:
                    self._alive.pop(name, None)
            case ServiceExited(service=name, code=code, signal=ended_by) if name not in self._proven | self._stopping:
                self._codes[name] = _shell_code(code, ended_by)
            case _:
                pass
        match message:
            case ServiceReady(service=name, url=str(url)) if name == self._page and self._open_page is not None:
                self._open_page(url)
                self._open_page = None
            case ServiceState(state="failed", service=name, error=Failure() as error):
                self._fail(name, error)
            case ServiceState(state="backingOff", service=name, error=Failure() as error) if self._is_early(name):
                self._fail(name, error)
            case ServiceState(state="starting", service=name):
                self._running.add(name)
            case ServiceState(state="stopped", service=name):
                self._running.discard(name)
                if not self._running:
                    self.ask(Shutdown())  # the last one ended by itself, or we are ending anyway
            case _:
                pass

    def relay(self, output: Output) -> None:
        """See ``runtime.Front``."""
        self._display.relay(output)

    def pace(self) -> None:
        """See ``runtime.Front``. The terminal has a thread of its own, and drops what it cannot show."""

    def close(self) -> None:
        """See ``runtime.Front``."""
        self._display.close()

    def _look_for_places(self, run: ServiceReady) -> None:
        if self._find_places is None:
            return
        self._alive[run.service] = run

        def lives() -> bool:
            return self._alive.get(run.service) is run

        def found(address: str, port: int, url: str) -> Iterable[Event]:
            if lives():
                self.notify(msgspec.structs.replace(run, url=url, host=address, port=port))
            return ()

        def tell(address: str, port: int, url: str) -> None:
            self._inbox.put(Call(partial(found, address, port, url)))

        start_thread(f"places of {run.service}", partial(self._find_places, run.service, lives, tell))

    def _is_early(self, name: str) -> bool:
        return name not in self._proven and self._clock() - self._began < EARLY_S

    def _fail(self, name: str | None, error: Failure) -> None:
        if not self.failed:
            self.failed = True
            self.exit_code = (self._codes.get(name) if name is not None else None) or EXIT_FAILED
            self._display.fail(error)
            self.ask(Shutdown())


def _shell_code(code: int | None, ended_by: str | None) -> int:
    """What a shell would have in ``$?``."""
    if code is not None:
        return code
    number: int | None = getattr(signal, ended_by or "", None)
    return EXIT_FAILED if number is None else SIGNALLED + number


class JsonDisplay:
    """The raw notifications, for programs."""

    def __init__(self, outbox: Outbox) -> None:
        """Write through ``outbox``."""
        self._outbox = outbox

    def show(self, message: AnyNotification) -> None:
        """See ``Display``."""
        self._outbox.put(notification(message))

    def relay(self, output: Output) -> None:
        """See ``Display``."""
        self._outbox.put_output(output)

    def fail(self, error: Failure) -> None:
        """See ``Display``. Programs have it in ``service/state``; this is for who reads stderr."""
        say("error", error.message)

    def close(self) -> None:
        """See ``Display``."""
        self._outbox.flush(FLUSH_S)
