"""Effects of the core that may block. Each runs on a thread of its own; its result comes back as an event."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

from msgspec import structs

from sidecar.config.services import PortConfig, log_file_of
from sidecar.core.events import (
    Address,
    AwaitReady,
    CheckHealth,
    ChoosePort,
    Endpoint,
    Event,
    FindListeners,
    Listening,
    PortChosen,
    PortNotChosen,
    Prepare,
    Prepared,
    PrepareFailed,
    Probed,
    RememberPort,
)
from sidecar.diagnostics import say
from sidecar.errors import InternalError, SidecarError, SystemFailureError
from sidecar.runtime.base import Surroundings
from sidecar.services import launch as launching
from sidecar.services.ports import PortAllocator, PortRequest
from sidecar.services.probe import Answer, attempt, await_ready, find_base
from sidecar.state import run_record
from sidecar.state.log_files import LogFiles
from sidecar.threads import start_thread

PRINTED_S = 0.005
"""How long after its first answer we wait for the address that a dev server prints. It does so once it listens."""

UNSURE = (
    "The system does not say which process has that socket (/proc is missing, or the program has file capabilities). "
    "The port was free when it was chosen, so the answer counts."
)


class Workers:
    """Starts the threads, and reports their results."""

    def __init__(
        self,
        surroundings: Surroundings,
        ports: PortAllocator,
        log_files: LogFiles | None,
        put: Callable[[Event], None],
        put_at_once: Callable[[Event], None],
    ) -> None:
        """``put`` takes a result from a thread. ``put_at_once`` takes it on the loop, if the system has no thread."""
        self._surroundings = surroundings
        self._host = surroundings.host
        self._ports = ports
        self._log_files = log_files
        self._put = put
        self._put_at_once = put_at_once

    def choose_port(self, effect: ChoosePort) -> None:
        """Choose the port of a service that is not prepared yet."""
        self._in_thread(
            f"port of {effect.service}",
            partial(self._choose_ahead, effect),
            lambda error: self._put_at_once(PortNotChosen(effect.service, error)),
        )

    def prepare(self, effect: Prepare) -> None:
        """Find the program of a run, and its port."""
        self._in_thread(
            f"prepare {effect.service}",
            partial(self._prepare, effect),
            lambda error: self._put_at_once(PrepareFailed(effect.service, effect.run, error)),
        )

    def await_ready(
        self, effect: AwaitReady, ended: threading.Event, stirred: threading.Event, ready: threading.Event
    ) -> None:
        """Probe a program until it answers or has ``ended``. Try again each time that ``stirred`` is set.

        ``ready`` is set once the core counts the service as ready.
        """
        self._in_thread(
            f"ready {effect.service}",
            partial(self._await_ready, effect, ended, stirred, ready),
            lambda error: say("error", error.message),  # the start then fails by its timeout
        )

    def find_listeners(self, effect: FindListeners) -> None:
        """Find out where the processes of a service listen."""
        self._in_thread(
            f"listeners {effect.service}",
            partial(self._find_listeners, effect),
            lambda _error: self._put_at_once(Listening(effect.service, effect.run, None)),
        )

    def check_health(self, effect: CheckHealth) -> None:
        """Ask a service that is ready whether it still answers."""
        self._in_thread(
            f"health {effect.service}",
            partial(self._check_health, effect),
            lambda error: self._put_at_once(Probed(effect.service, effect.run, effect.turn, "unknown", error.message)),
        )

    def remember_port(self, effect: RememberPort) -> None:
        """Remember the port for the service's next start."""
        self._in_thread(
            f"remember {effect.service}",
            partial(_remember, effect),
            lambda error: say("warning", f"the port could not be remembered: {error.message}"),
        )

    @staticmethod
    def _in_thread(name: str, work: Callable[[], None], otherwise: Callable[[SidecarError], None]) -> None:
        """Run the work on a thread; call ``otherwise`` with the error if the system has no thread."""
        try:
            start_thread(name, work)
        except SystemFailureError as error:
            otherwise(error)

    def _prepare(self, effect: Prepare) -> None:
        try:
            self._surroundings.wait_settled()
            launch = launching.plan(effect.service, effect.config, partial(say, "warning"))
            endpoint = None if launch.port is None else self._choose_port(effect, launch.port, effect.keep)
            ready = launching.with_endpoint(launch, effect.config, endpoint, effect.known)
            log_file = self._open_log_file(effect)
            event: Event = Prepared(effect.service, effect.run, ready, endpoint, log_file)
        except SidecarError as error:
            event = PrepareFailed(effect.service, effect.run, error)
        except Exception as error:  # noqa: BLE001  the caller waits for a result, so a fault of ours must reach it
            fault = InternalError(f"{effect.service} could not be prepared: {error!r}. Please report this.")
            event = PrepareFailed(effect.service, effect.run, fault)
        self._put(event)

    def _open_log_file(self, effect: Prepare) -> str | None:
        config = log_file_of(effect.config)
        return None if config is None or self._log_files is None else self._log_files.open(effect.service, config)

    def _choose_ahead(self, effect: ChoosePort) -> None:
        name = effect.service
        try:
            self._surroundings.wait_settled()
            wish = launching.port_config(effect.config) or PortConfig()
            event: Event = PortChosen(name, self._choose_port(effect, wish, None))
        except SidecarError as error:
            event = PortNotChosen(name, error)
        except Exception as error:  # noqa: BLE001  the caller waits for a result, so a fault of ours must reach it
            event = PortNotChosen(name, InternalError(f"No port for {name}: {error!r}. Please report this."))
        self._put(event)

    def _choose_port(self, effect: Prepare | ChoosePort, wish: PortConfig, keep: int | None) -> Endpoint:
        key = launching.project_key(effect.service, effect.config)
        return self._ports.choose(
            effect.service,
            PortRequest(
                host=wish.host,
                preferred=wish.preferred,
                current=keep,
                last=partial(run_record.last_port, key) if wish.sticky else lambda: None,
                keep=launching.keeps_port(effect.config),
                strict=wish.strict,
            ),
        )

    def _await_ready(
        self, effect: AwaitReady, ended: threading.Event, stirred: threading.Event, ready: threading.Event
    ) -> None:
        owner = partial(self._host.owns, effect.service)

        def report(answer: Answer, address: Address) -> None:
            if not answer.sure:
                say("warning", f"{effect.service} answers on its port. {UNSURE}")
            reached = answer.address is not None
            found = Probed(effect.service, effect.run, 0, answer.verdict, answer.detail, address, reached)
            self._put(found)
            if address.base is None and address.scheme == "http" and answer.address is not None:
                if ready.wait(PRINTED_S):
                    return  # it has printed its base, so we need not ask its page
                base = find_base(answer.address, effect.endpoint)
                self._put(structs.replace(found, address=structs.replace(address, base=base)))

        try:
            await_ready(effect.probe, effect.endpoint, owner, ended, stirred, report)
        except Exception as error:  # noqa: BLE001  after a fault of ours the start fails by its timeout
            say("error", f"the readiness of {effect.service} cannot be checked: {error!r}. Please report this.")

    def _check_health(self, effect: CheckHealth) -> None:
        owner = partial(self._host.owns, effect.service)
        try:
            answer = attempt(effect.probe, effect.endpoint, owner, effect.timeout_ms / 1000)
        except Exception as error:  # noqa: BLE001  answer even after a fault of ours: without an answer no check follows
            answer = Answer("unknown", f"the health of {effect.service} cannot be checked: {error!r}")
            say("error", f"{answer.detail}. Please report this.")
        self._put(Probed(effect.service, effect.run, effect.turn, answer.verdict, answer.detail))

    def _find_listeners(self, effect: FindListeners) -> None:
        places: tuple[tuple[str, int], ...] | None = None
        try:
            places = self._host.listening(effect.service)
        except Exception as error:  # noqa: BLE001  answer even after a fault of ours: a timeout waits for it
            say("error", f"the sockets of {effect.service} cannot be read: {error!r}. Please report this.")
        self._put(Listening(effect.service, effect.run, places))


def _remember(effect: RememberPort) -> None:
    wish = effect.config.port
    if wish is not None and wish.sticky:
        port = None if effect.endpoint.usual else effect.endpoint.port
        run_record.remember_port(launching.project_key(effect.service, effect.config), port)
