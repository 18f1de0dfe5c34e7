"""The only loop: it takes events from the inbox, steps the core, and performs the effects in order."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import NoReturn, assert_never

from msgspec import Struct, field

from sidecar.core.events import (
    AnnounceGrace,
    AwaitReady,
    CheckHealth,
    ChoosePort,
    Effect,
    Event,
    Exit,
    Exited,
    FindListeners,
    FindOwner,
    Interrupted,
    Kill,
    KillAll,
    Notify,
    Output,
    Prepare,
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
from sidecar.core.supervisor import Supervisor
from sidecar.diagnostics import say
from sidecar.errors import SidecarError, SystemFailureError
from sidecar.exit_codes import EXIT_INTERNAL
from sidecar.host.base import Child, Ended, SignalledTo
from sidecar.host.fds import Pipes
from sidecar.protocol.messages import ServiceReady, ServiceState, Stream
from sidecar.runtime.base import Front, Surroundings
from sidecar.runtime.streams import OutputPump
from sidecar.runtime.workers import Workers
from sidecar.services.origins import OwnerLooks
from sidecar.services.ports import PortAllocator
from sidecar.state.log_files import LogFiles
from sidecar.threads import start_thread

DRAIN_S = 1.0
"""How long we wait for the end of a dead tree's pipes. They end at once, unless a process outside of the tree has
them."""

MORE_DESCRIPTORS = "Raise the limit on open files (ulimit -n), then start it again."

HELD = "a process outside of its tree still has its stdout or stderr. What that process writes there is no longer read."


class ChildSignal(Struct, frozen=True):
    """SIGCHLD: a child died. The loop calls ``taken`` before it finds out which one."""

    taken: Callable[[], None] = lambda: None


class StreamEnded(Struct, frozen=True):
    """An output stream of a run has been read to its end."""

    service: str
    run: int


class Chunk(Struct, frozen=True):
    """Output, and the pump to tell that the loop has taken it."""

    output: Output
    pump: OutputPump


class SignalSeen(Struct, frozen=True):
    """A signal came: to us directly, to the guard, or to the bootloader above it."""

    number: int
    to: SignalledTo


class Call(Struct, frozen=True):
    """Work that a front wants done on the loop. The core takes the resulting events one by one."""

    work: Callable[[], Iterable[Event]]


Item = Event | ChildSignal | StreamEnded | Chunk | SignalSeen | Call
Inbox = queue.SimpleQueue[Item]


class _Run(Struct):
    """The process of a service's run: what the loop still waits for before its ``Exited``."""

    number: int
    ended: threading.Event = field(default_factory=threading.Event)
    stirred: threading.Event = field(default_factory=threading.Event)
    """Set by the process's output and by its end. The readiness probe then tries again."""
    ready: threading.Event = field(default_factory=threading.Event)
    pump: OutputPump | None = None
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
        log_files: LogFiles | None = None,
    ) -> None:
        """``keep_ansi`` leaves colours in the output. ``log_files`` gets the output, too."""
        self._log_files = log_files
        self._core = core
        self._surroundings = surroundings
        self._host = surroundings.host
        self._front = front
        self._inbox = inbox
        self._keep_ansi = keep_ansi
        self._ports = PortAllocator(self._host.holder)
        self._looks = OwnerLooks(self._host, inbox.put)
        self._runs: dict[str, _Run] = {}
        self._follow_ups: list[Event] = []
        self._workers = Workers(surroundings, self._ports, log_files, inbox.put, self._follow_ups.append)
        self._signals: dict[int, dict[str, int]] = {}
        self._exit_code: int | None = None

    def run(self) -> int:
        """Serve until the core says ``Exit``, and return the exit code. Everything below us is dead then."""
        try:
            while self._exit_code is None:
                self._turn()
        except Exception as error:  # noqa: BLE001  the trees must not outlive us, whatever the error
            import traceback

            self._host.kill_all()
            say("error", "".join(traceback.format_exception(error)))
            self._exit_code = EXIT_INTERNAL
        self._host.kill_all()
        self._front.close()
        if self._log_files is not None:
            self._log_files.close()
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
            self._step(Tick())  # the core needs its ticks even while items that are not for it keep coming
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
                pump.taken(output.size)
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
                continue  # ``_spawn`` failed after the start, and killed it
            run.end = ended
            run.ended.set()
            run.stirred.set()
            run.drained_by = time.monotonic() + DRAIN_S

    def _signal(self, number: int, to: str) -> None:
        """Count a signal to the whole group once, though each of us gets it: the highest count among us decides."""
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
                if run.open_streams and run.pump is not None:
                    say("warning", f"{service} has ended, but {HELD}")
                    run.pump.abandon()
                self._follow_ups.append(Exited(service, run.number, run.end.code, run.end.signal, run.end.left))

    def _step(self, event: Event) -> None:
        if self._exit_code is not None:
            return  # an earlier event of this turn has decided the end
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
                if self._log_files is not None:
                    self._log_files.put(output)
            case ChoosePort():
                self._workers.choose_port(effect)
            case Prepare():
                self._workers.prepare(effect)
            case Spawn():
                self._spawn(effect)
            case AwaitReady():
                run = self._runs[effect.service]
                self._workers.await_ready(effect, run.ended, run.stirred, run.ready)
            case FindListeners():
                self._workers.find_listeners(effect)
            case FindOwner():
                self._looks.ask(effect)
            case CheckHealth():
                self._workers.check_health(effect)
            case Terminate(service=service, signal=name):
                self._host.terminate(service, name)
            case Kill(service=service):
                self._host.kill(service)
                self._inbox.put(ChildSignal())  # a tree without a living child of ours sends no signal
            case Release(service=service):
                self._ports.release(service)
            case RememberPort():
                self._workers.remember_port(effect)
            case AnnounceGrace(ms=ms):
                self._surroundings.announce_grace(ms)
            case KillAll():
                self._host.kill_all()
            case Exit(code=code):
                self._exit_code = code
            case _ as never:
                assert_never(never)

    def _spawn(self, effect: Spawn) -> None:
        service, number = effect.service, effect.run
        try:
            child = self._host.spawn(service, effect.launch)
        except SidecarError as error:
            self._follow_ups.append(SpawnFailed(service, number, error))
            return
        run = _Run(number)
        try:
            run.pump = self._read_output(service, run, child)
        except SystemFailureError as error:
            self._host.kill(service)  # no thread would read its output
            self._reap()
            self._follow_ups.append(SpawnFailed(service, number, error))
            return
        self._runs[service] = run
        self._follow_ups.append(Spawned(service, number, child.pid))

    def _read_output(self, service: str, run: _Run, child: Child) -> OutputPump:
        """Begin to read a program's output. Raises ``SystemFailureError`` after closing the pipes."""
        try:
            pipes = Pipes((child.stdout, child.stderr))
        except OSError as error:  # EMFILE, ENFILE
            os.close(child.stdout)
            os.close(child.stderr)
            raise SystemFailureError(
                f"The output of {service} could not be read: {error.strerror}. {MORE_DESCRIPTORS}"
            ) from None
        pump = OutputPump(
            pipes,
            {child.stdout: "stdout", child.stderr: "stderr"},
            partial(self._emit, service, run),
            partial(self._inbox.put, StreamEnded(service, run.number)),
            self._front.pace,
            keep_ansi=self._keep_ansi,
        )
        try:
            pipes.start()
            start_thread(f"{service} output", pump.run)
        except SystemFailureError:
            pipes.close()
            raise
        return pump

    def _emit(
        self,
        service: str,
        run: _Run,
        stream: Stream,
        lines: tuple[str, ...],
        unfinished: str,
        size: int,
        pump: OutputPump,
    ) -> None:
        run.stirred.set()
        self._inbox.put(Chunk(Output(service, run.number, stream, lines, size, unfinished), pump))


def leave(code: int) -> NoReturn:
    """End this process without waiting for its threads: they may be blocked in a read or a write."""
    os._exit(code)
