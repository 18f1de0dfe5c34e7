"""The only loop: takes events from the inbox, steps the core, performs its effects in order."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import NoReturn, Protocol, assert_never

from msgspec import Struct, field, structs

from sidecar import launch as launching
from sidecar.core.supervisor import Supervisor
from sidecar.diagnostics import say
from sidecar.errors import InternalError, SidecarError, SystemFailureError
from sidecar.events import (
    Address,
    AnnounceGrace,
    AwaitReady,
    CheckHealth,
    Effect,
    Endpoint,
    Event,
    Exit,
    Exited,
    FindListeners,
    Interrupted,
    Kill,
    KillAll,
    Listening,
    Notify,
    Output,
    Prepare,
    Prepared,
    PrepareFailed,
    Probed,
    Refuse,
    Relay,
    Release,
    RememberPort,
    Reply,
    Spawn,
    Spawned,
    SpawnFailed,
    Terminate,
    Tick,
)
from sidecar.host import records
from sidecar.host.base import Ended, Host, SignalledTo
from sidecar.host.fds import Pipes
from sidecar.host.ports import PortBook, Wish
from sidecar.host.probe import Answer, attempt, await_ready, find_base
from sidecar.pumps import OutputPump
from sidecar.threads import EXIT_INTERNAL, start_thread
from sidecar.wire.messages import AnyNotification, Failure, Id, Result, ServiceReady, ServiceState, Stream

DRAIN_S = 1.0
"""A dead tree's pipes end at once, unless a process that left every tree holds them: it is waited for no longer."""


PRINTED_S = 0.005
"""A dev server prints its address as soon as it listens, so within this after its first answer that has come, too."""

UNSURE = (
    "The system does not say which process has that socket (/proc is missing, or the program has file capabilities). "
    "The port was free when it was chosen, so the answer counts."
)


class Front(Protocol):
    """Whom the runtime serves: the stdio client, or the standalone view."""

    def reply(self, call: Id, result: Result) -> None:
        """Answer a request."""
        ...

    def refuse(self, call: Id, error: Failure) -> None:
        """Answer a request with an error."""
        ...

    def notify(self, message: AnyNotification) -> None:
        """Tell of something."""
        ...

    def relay(self, output: Output) -> None:
        """Pass on what a program wrote."""
        ...

    def pace(self) -> None:
        """Block the reader of a child's output, within a bound, while too much of it waits for whom we serve."""
        ...

    def close(self) -> None:
        """Deliver what waits, within a bound."""
        ...


class Surroundings(Protocol):
    """What a run finds around it: the system, and the guard."""

    host: Host

    def wait_settled(self) -> None:
        """Block until what earlier runs left is gone. Called from a preparation's thread."""
        ...

    def announce_grace(self, ms: int) -> None:
        """Tell the guard how long the services may take when the app dies."""
        ...

    def note(self, told: ServiceState | ServiceReady) -> None:
        """Keep it for ``sidecar ps``."""
        ...


class ChildSignal(Struct, frozen=True):
    """SIGCHLD: somebody died. ``taken`` is called before it is looked who."""

    taken: Callable[[], None] = lambda: None


class StreamEnded(Struct, frozen=True):
    """An output stream of a run has been read to its end."""

    service: str
    run: int


class Chunk(Struct, frozen=True):
    """Output, and whom to tell that it was taken."""

    output: Output
    pump: OutputPump


class SignalSeen(Struct, frozen=True):
    """A signal came: to us directly, to the guard, or to the bootloader above it."""

    number: int
    to: SignalledTo


class Call(Struct, frozen=True):
    """Something that a front wants done on the loop; the events that it gives are taken one by one."""

    work: Callable[[], Iterable[Event]]


Item = Event | ChildSignal | StreamEnded | Chunk | SignalSeen | Call
Inbox = queue.SimpleQueue[Item]


class _Run(Struct):
    """A run's process as the loop sees it: what is still to come before its ``Exited``."""

    number: int
    ended: threading.Event = field(default_factory=threading.Event)
    ready: threading.Event = field(default_factory=threading.Event)
    open_streams: int = 2
    end: Ended | None = None
    drained_by: float | None = None


class Runtime:
    """Joins core, host, and front."""

    def __init__(
        self,
        core: Supervisor,
        surroundings: Surroundings,
        front: Front,
        inbox: Inbox,
        *,
        keep_ansi: bool = False,
    ) -> None:
        """``keep_ansi`` leaves colours in the output."""
        self._core = core
        self._surroundings = surroundings
        self._host = surroundings.host
        self._front = front
        self._inbox = inbox
        self._keep_ansi = keep_ansi
        self._book = PortBook(self._host.holder)
        self._runs: dict[str, _Run] = {}
        self._follow_ups: list[Event] = []
        self._signals: dict[int, dict[str, int]] = {}
        self._exit_code: int | None = None

    def run(self) -> int:
        """Serve until the core says ``Exit``; the exit code. Everything below us is dead then."""
        try:
            while self._exit_code is None:
                self._turn()
        except Exception as error:  # noqa: BLE001  whatever it is, the trees must not outlive us
            import traceback

            self._host.kill_all()
            say("error", "".join(traceback.format_exception(error)))
            self._exit_code = EXIT_INTERNAL
        self._host.kill_all()
        self._front.close()
        return self._exit_code

    def _turn(self) -> None:
        deadlines = [run.drained_by for run in self._runs.values() if run.drained_by is not None]
        if (due := self._core.next_deadline()) is not None:
            deadlines.append(due)
        try:
            timeout = max(0.0, min(deadlines) - time.monotonic()) if deadlines else None
            item = self._inbox.get(timeout=timeout)
        except queue.Empty:
            item = Tick()
        self._take(item)
        self._finish_runs()
        self._follow_up()
        if (due := self._core.next_deadline()) is not None and due <= time.monotonic():
            self._step(Tick())  # not every item is one of the core's, and there may be no end of them
            self._follow_up()

    def _follow_up(self) -> None:
        while self._follow_ups and self._exit_code is None:
            self._step(self._follow_ups.pop(0))

    def _take(self, item: Item) -> None:
        match item:
            case ChildSignal(taken=taken):
                taken()
                self._reap()
            case StreamEnded(service=service, run=number):
                current = self._runs.get(service)
                if current is not None and current.number == number:
                    current.open_streams -= 1
            case Chunk(output=output, pump=pump):
                self._step(output)
                pump.taken()
            case SignalSeen(number=number, to=to):
                self._signal(number, to)
            case Call(work=work):
                for event in work():
                    self._step(event)
                    self._follow_up()
            case _:
                self._step(item)

    def _reap(self) -> None:
        for ended in self._host.reap():
            run = self._runs.get(ended.service)
            if run is None:
                continue  # it was given up within its spawn
            run.end = ended
            run.ended.set()
            run.drained_by = time.monotonic() + DRAIN_S

    def _signal(self, number: int, to: str) -> None:
        """A signal to the whole group comes to each of us, and counts once: as often as it came to one of us."""
        counts = self._signals.setdefault(number, {})
        before = max(counts.values(), default=0)
        counts[to] = counts.get(to, 0) + 1
        if counts[to] > before:
            self._step(Interrupted(number))

    def _finish_runs(self) -> None:
        now = time.monotonic()
        for service, run in list(self._runs.items()):
            if run.end is not None and (run.open_streams == 0 or (run.drained_by or now) <= now):
                del self._runs[service]
                self._follow_ups.append(Exited(service, run.number, run.end.code, run.end.signal, run.end.left))

    def _step(self, event: Event) -> None:
        if self._exit_code is not None:
            return  # the end was decided within this turn
        for effect in self._core.step(event, time.monotonic()):
            self._perform(effect)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Reply(id=call, result=result):
                self._front.reply(call, result)
            case Refuse(id=call, error=error):
                self._front.refuse(call, error)
            case Notify(message=message):
                self._front.notify(message)
                if isinstance(message, ServiceState | ServiceReady):
                    self._surroundings.note(message)
                if isinstance(message, ServiceReady) and (run := self._runs.get(message.service)) is not None:
                    run.ready.set()
            case Relay(output=output):
                self._front.relay(output)
            case Prepare():
                self._in_thread(
                    f"prepare {effect.service}",
                    partial(self._prepare, effect),
                    lambda error: self._follow_ups.append(PrepareFailed(effect.service, effect.run, error)),
                )
            case Spawn():
                self._spawn(effect)
            case AwaitReady():
                self._in_thread(
                    f"ready {effect.service}",
                    partial(self._await_ready, effect, self._runs[effect.service]),
                    lambda error: say("error", error.message),  # the start ends when its time is over
                )
            case FindListeners():
                self._in_thread(
                    f"listeners {effect.service}",
                    partial(self._find_listeners, effect),
                    lambda _error: self._follow_ups.append(Listening(effect.service, effect.run, None)),
                )
            case CheckHealth():
                self._in_thread(
                    f"health {effect.service}",
                    partial(self._check_health, effect),
                    lambda error: self._follow_ups.append(
                        Probed(effect.service, effect.run, effect.turn, "unknown", error.message)
                    ),
                )
            case Terminate(service=service, signal=name):
                self._host.terminate(service, name)
            case Kill(service=service):
                self._host.kill(service)
                self._inbox.put(ChildSignal())  # a tree without a living child of ours sends no signal
            case Release(service=service):
                self._book.release(service)
            case RememberPort():
                self._in_thread(
                    f"remember {effect.service}",
                    partial(_remember, effect),
                    lambda error: say("warning", f"the port could not be remembered: {error.message}"),
                )
            case AnnounceGrace(ms=ms):
                self._surroundings.announce_grace(ms)
            case KillAll():
                self._host.kill_all()
            case Exit(code=code):
                self._exit_code = code
            case _ as never:
                assert_never(never)

    @staticmethod
    def _in_thread(name: str, work: Callable[[], None], otherwise: Callable[[SidecarError], None]) -> None:
        """Run it beside the loop, or tell ``otherwise`` that the system has no thread for it."""
        try:
            start_thread(name, work)
        except SystemFailureError as error:
            otherwise(error)

    def _prepare(self, effect: Prepare) -> None:
        try:
            self._surroundings.wait_settled()
            launch = launching.plan(effect.service, effect.config, partial(say, "warning"))
            endpoint = self._choose_port(effect)
            ready = launching.with_endpoint(launch, effect.config, endpoint)
            event: Event = Prepared(effect.service, effect.run, ready, endpoint)
        except SidecarError as error:
            event = PrepareFailed(effect.service, effect.run, error)
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread must reach whoever waits
            fault = InternalError(f"{effect.service} could not be prepared: {error!r}. Please report this.")
            event = PrepareFailed(effect.service, effect.run, fault)
        self._inbox.put(event)

    def _choose_port(self, effect: Prepare) -> Endpoint | None:
        wish = launching.port_config(effect.config)
        if wish is None:
            return None
        key = launching.project_key(effect.service, effect.config)
        return self._book.choose(
            effect.service,
            Wish(
                host=wish.host,
                preferred=wish.preferred,
                current=effect.keep,
                last=partial(records.last_port, key) if wish.sticky else lambda: None,
                keep=launching.keeps_port(effect.config),
                strict=wish.strict,
            ),
        )

    def _spawn(self, effect: Spawn) -> None:
        service, number = effect.service, effect.run
        try:
            child = self._host.spawn(service, effect.launch)
        except SidecarError as error:
            self._follow_ups.append(SpawnFailed(service, number, error))
            return
        pipes = Pipes((child.stdout, child.stderr))
        pump = OutputPump(
            pipes,
            {child.stdout: "stdout", child.stderr: "stderr"},
            partial(self._emit, service, number),
            partial(self._inbox.put, StreamEnded(service, number)),
            self._front.pace,
            keep_ansi=self._keep_ansi,
        )
        try:
            pipes.start()
            start_thread(f"{service} output", pump.run)
        except SystemFailureError as error:
            self._host.kill(service)  # nobody would read what it writes
            self._reap()
            pipes.close()
            self._follow_ups.append(SpawnFailed(service, number, error))
            return
        self._runs[service] = _Run(number)
        self._follow_ups.append(Spawned(service, number, child.pid))

    def _emit(
        self,
        service: str,
        run: int,
        stream: Stream,
        lines: tuple[str, ...],
        unfinished: str,
        size: int,
        pump: OutputPump,
    ) -> None:
        self._inbox.put(Chunk(Output(service, run, stream, lines, size, unfinished), pump))

    def _await_ready(self, effect: AwaitReady, run: _Run) -> None:
        owner = partial(self._host.owns, effect.service)

        def report(answer: Answer, address: Address) -> None:
            if not answer.sure:
                say("warning", f"{effect.service} answers on its port. {UNSURE}")
            reached = answer.address is not None
            found = Probed(effect.service, effect.run, 0, answer.verdict, answer.detail, address, reached)
            self._inbox.put(found)
            if address.base is None and address.scheme == "http" and answer.address is not None:
                if run.ready.wait(PRINTED_S):
                    return  # it has printed its base: its page need not be asked
                base = find_base(answer.address, effect.endpoint)
                self._inbox.put(structs.replace(found, address=structs.replace(address, base=base)))

        try:
            await_ready(effect.probe, effect.endpoint, owner, run.ended, report)
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread: the start ends when its time is over
            say("error", f"the readiness of {effect.service} cannot be found out: {error!r}. Please report this.")

    def _check_health(self, effect: CheckHealth) -> None:
        owner = partial(self._host.owns, effect.service)
        try:
            answer = attempt(effect.probe, effect.endpoint, owner, effect.timeout_ms / 1000)
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread: without an answer no check would follow
            answer = Answer("unknown", f"the health of {effect.service} cannot be found out: {error!r}")
            say("error", f"{answer.detail}. Please report this.")
        self._inbox.put(Probed(effect.service, effect.run, effect.turn, answer.verdict, answer.detail))

    def _find_listeners(self, effect: FindListeners) -> None:
        places: tuple[tuple[str, int], ...] | None = None
        try:
            places = self._host.listening(effect.service)
        except Exception as error:  # noqa: BLE001  a fault of ours in a thread: a timeout waits for this answer
            say("error", f"the sockets of {effect.service} cannot be found out: {error!r}. Please report this.")
        self._inbox.put(Listening(effect.service, effect.run, places))


def _remember(effect: RememberPort) -> None:
    wish = launching.port_config(effect.config)
    if wish is not None and wish.sticky:
        port = None if effect.port == wish.preferred else effect.port
        records.remember_port(launching.project_key(effect.service, effect.config), port)


def leave(code: int) -> NoReturn:
    """End this process without waiting for its threads, which may be blocked in a read or a write."""
    os._exit(code)
