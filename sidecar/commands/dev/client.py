"""The client of the supervisor in ``sidecar dev``: starts the services, and ends everything once one has failed."""

from __future__ import annotations

import itertools
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

import msgspec

from sidecar import __version__
from sidecar.config.services import Service, TaskService, ready_probe
from sidecar.core.events import Event, Output
from sidecar.diagnostics import say, say_error
from sidecar.errors import ERROR_CODES, ShuttingDownError, SupersededError, SystemFailureError
from sidecar.exit_codes import EXIT_CLEAN, EXIT_FAILED, EXIT_SIGNALLED
from sidecar.protocol.messages import (
    PROTOCOL_VERSION,
    AnyNotification,
    Failure,
    Id,
    LogLine,
    LogsResult,
    Result,
    ServiceExited,
    ServiceReady,
    ServiceRestarting,
    ServiceState,
)
from sidecar.protocol.requests import AnyRequest, Client, Initialize, Shutdown, Start, Stop
from sidecar.protocol.rpc import Received, notification
from sidecar.runtime.loop import Call, Inbox
from sidecar.runtime.streams import Outbox
from sidecar.threads import start_thread

FLUSH_S = 3.0
"""Bound on writing the last output (Ctrl-S may hold the terminal). Everything else is over by then."""

EARLY_S = 5.0
"""A program that ends before this and was never ready would end again. So do not retry: show the error now."""

INITIALIZE = 1
"""The id of the first request, which is ``initialize``."""

FindPlaces = Callable[[str, Callable[[], bool], Callable[[str, int, str], None]], None]
"""Reports each (address, port, URL) of a service, while it lives."""

MOOT = {SupersededError.code, ShuttingDownError.code}
"""Refusals of requests that a later stop or the shutdown has made pointless."""


class Display(Protocol):
    """Shows what the client hears."""

    def show(self, message: AnyNotification) -> None:
        """Show a notification."""
        ...

    def relay(self, output: Output) -> None:
        """Show output of a program."""
        ...

    def fail(self, error: Failure, going_on: str | None = None) -> None:
        """Show that a service has failed and will not be retried. ``going_on`` is its name if the others go on."""
        ...

    def replay(self, service: str, lines: Sequence[LogLine]) -> None:
        """Show the last lines of a service, which a person has asked for."""
        ...

    def close(self) -> None:
        """Write what still waits, within a bound."""
        ...


class DevFront:
    """See ``runtime.base.Front``."""

    def __init__(
        self,
        page: str,
        inbox: Inbox,
        display: Display,
        open_page: Callable[[str], None] | None,
        clock: Callable[[], float] = time.monotonic,
        *,
        attended: bool = False,
    ) -> None:
        """Call ``open_page`` with the URL when the service ``page`` is ready for the first time.

        ``clock`` gives seconds. If ``attended``, a person sees a failure and can press a key: then a service that fails
        does not end the others.
        """
        self._page = page
        self._attended = attended
        self._running: set[str] = set()
        """The services that run or will run. A task that is done is not among them."""
        self._tasks: set[str] = set()
        self._down: dict[str, Failure] = {}
        """The services that have failed while others go on, the first failure first."""
        self._aside: set[str] = set()
        """The services that a person has stopped and may start again."""
        self._inbox = inbox
        self._display = display
        self._open_page = open_page
        self._calls = itertools.count(INITIALIZE)
        self._several = False
        self._clock = clock
        self._began = clock()
        self._unprobed: set[str] = set()
        self._find_places: FindPlaces | None = None
        self._alive: dict[str, ServiceReady] = {}
        """The live run of each service without a probe. An address that is found for an earlier run is dropped."""
        self._proven: set[str] = set()
        """The services that have been ready. One without a probe counts once a port answers."""
        self._stopping: set[str] = set()
        """The services that are being stopped: their exit code only reflects our signal."""
        self._codes: dict[str, int] = {}
        """The last exit code of each service that has ended before it was ready."""
        self.failed = False
        self.exit_code = EXIT_CLEAN
        """The exit code of ``sidecar dev``; a failed service sets it."""

    def begin(self, services: Mapping[str, Service], find_places: FindPlaces | None = None) -> None:
        """Start the services. ``find_places`` finds the addresses of services that get no port from us."""
        self._find_places = find_places
        self._running.update(services)
        self._tasks.update(name for name, config in services.items() if isinstance(config, TaskService))
        self._several = len(services) > 1
        self._unprobed.update(name for name, config in services.items() if ready_probe(config) is None)
        self._began = self._clock()
        configs: dict[str, object] = {name: msgspec.to_builtins(config) for name, config in services.items()}
        self.ask(Initialize(PROTOCOL_VERSION, Client("sidecar dev", __version__), configs))
        for name in services:
            self.ask(Start(name))

    def ask(self, request: AnyRequest) -> None:
        """Send a request. Its outcome comes as notifications."""
        self._inbox.put(Received(next(self._calls), request))

    def put_aside(self, name: str) -> None:
        """Note that a person stops this service and may start it again. Its end does not end ``sidecar dev``."""
        self._aside.add(name)

    def reply(self, call: Id, result: Result) -> None:
        """See ``runtime.base.Front``."""
        del call  # notifications tell the outcome of every request but ``logs``
        if isinstance(result, LogsResult):
            self._display.replay(result.service, result.lines)

    def refuse(self, call: Id, error: Failure) -> None:
        """See ``runtime.base.Front``. If a service failed, ``service/state`` has told that before."""
        if error.code not in MOOT and (call == INITIALIZE or not self._goes_on):
            self._fail(None, error)

    def notify(self, message: AnyNotification) -> None:
        """See ``runtime.base.Front``."""
        match message:
            case ServiceRestarting(service=name) if self.failed or name in self._down:
                return  # the core plans a retry, but the stop is on its way
            case ServiceState(service=name, state="stopping" | "stopped") if name in self._down:
                self._display.show(ServiceState(name, "failed", error=self._down[name]))
            case _:
                self._display.show(message)
        self._note(message)
        match message:
            case ServiceReady(service=name, url=str(url)) if name == self._page and self._open_page is not None:
                self._open_page(url)
                self._open_page = None
            case ServiceState(state="failed", service=name, error=Failure() as error):
                self._fail(name, error)
            case ServiceState(state="backingOff", service=name, error=Failure() as error) if self._is_early(name):
                self._fail(name, error)
                if self._goes_on:
                    self.ask(Stop(name))
            case ServiceState(state="starting", service=name):
                self._running.add(name)
                self._aside.discard(name)
                self._down.pop(name, None)
            case ServiceState(state="ready", service=name) if name in self._tasks:
                self._running.discard(name)
            case ServiceState(state="stopped", service=name):
                self._running.discard(name)
                self._end_if_over()
            case _:
                pass

    def _note(self, message: AnyNotification) -> None:
        """Remember what distinguishes a crash from a stop, and a first start from a later one."""
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

    def relay(self, output: Output) -> None:
        """See ``runtime.base.Front``."""
        self._display.relay(output)

    def pace(self) -> None:
        """See ``runtime.base.Front``. The terminal's own thread drops what it cannot show in time."""

    def close(self) -> None:
        """See ``runtime.base.Front``."""
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

        try:
            start_thread(f"places of {run.service}", partial(self._find_places, run.service, lives, tell))
        except SystemFailureError as error:
            say("warning", f"the addresses of {run.service} are not looked for: {error.message}")

    def _is_early(self, name: str) -> bool:
        return name not in self._proven and self._clock() - self._began < EARLY_S

    @property
    def _goes_on(self) -> bool:
        """Whether the others go on if a service fails."""
        return self._attended and self._several and not self.failed

    def _fail(self, name: str | None, error: Failure) -> None:
        if self.failed:
            return
        if name is None or not self._goes_on:
            self._end_by(name, error)
        elif name not in self._down:
            self._down[name] = error
            self._running.discard(name)
            self._display.fail(error, name if self._running else None)
            self._end_if_over()

    def _end_if_over(self) -> None:
        """End once nothing runs any more, unless a person has stopped a service and may start it again."""
        if self._running or self._aside:
            return
        if self._down and not self.failed:
            self.failed = True
            self.exit_code = self._codes.get(next(iter(self._down))) or EXIT_FAILED
        self.ask(Shutdown())

    def _end_by(self, name: str | None, error: Failure) -> None:
        self.failed = True
        self.exit_code = (self._codes.get(name) if name is not None else None) or EXIT_FAILED
        self._display.fail(error)
        self.ask(Shutdown())


def _shell_code(code: int | None, ended_by: str | None) -> int:
    """Return the code that a shell would have in ``$?``."""
    if code is not None:
        return code
    number: int | None = getattr(signal, ended_by or "", None)
    return EXIT_FAILED if number is None else EXIT_SIGNALLED + number


class JsonDisplay:
    """Writes the notifications as JSON lines, for programs."""

    def __init__(self, outbox: Outbox) -> None:
        """Write through ``outbox``."""
        self._outbox = outbox

    def show(self, message: AnyNotification) -> None:
        """See ``Display``."""
        self._outbox.put(notification(message))

    def relay(self, output: Output) -> None:
        """See ``Display``."""
        self._outbox.put_output(output)

    def fail(self, error: Failure, going_on: str | None = None) -> None:
        """See ``Display``. Programs read ``service/state``; people read this on stderr."""
        del going_on  # there are no keys to press
        say_error(error.message, "errors", ERROR_CODES[error.code])

    def replay(self, service: str, lines: Sequence[LogLine]) -> None:
        """See ``Display``. Here nothing asks for lines."""

    def close(self) -> None:
        """See ``Display``."""
        self._outbox.flush(FLUSH_S)
