"""An in-memory world around the core: it records the core's effects, and the test decides what happens next.

It also checks invariants (see laws.py). A test that breaks one fails in ``perform``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from sidecar.config.services import TaskService
from sidecar.core.events import (
    Address,
    AnnounceGrace,
    AppGone,
    AwaitReady,
    CheckHealth,
    ChoosePort,
    Effect,
    Endpoint,
    Event,
    Exit,
    Exited,
    FindListeners,
    FindOwner,
    Interrupted,
    Kill,
    KillAll,
    Launch,
    Listening,
    Notify,
    Output,
    OwnerFound,
    PortChosen,
    PortNotChosen,
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
    Verdict,
)
from sidecar.core.supervisor import SUSPEND_S, Supervisor
from sidecar.errors import SidecarError
from sidecar.protocol.messages import AnyNotification, Guarantees, Id, OriginOwner, Server, ServiceState, Stream
from sidecar.protocol.requests import AnyRequest, Initialize, Logs, Restart, Shutdown, Start, Status, Stop
from sidecar.protocol.rpc import Received
from tests.core.laws import Laws

OUR_PID = 4242
SERVER = Server("tauri-sidecar", "0.1.0")
PLAIN = Address()
GUARANTEES = Guarantees(
    platform="linux",
    guard=True,
    subreaper=True,
    parent_death_signal=True,
    parent_watch="pidfd",
    control_group=False,
    job_object=False,
    run_cookie=True,
    stdin_guard=True,
)
VITE: dict[str, object] = {"type": "vite"}
COMMAND: dict[str, object] = {"type": "command", "command": ["serve"]}
"""A service without port and probe: it is ready once it runs."""


class Process(Struct):
    """One living tree."""

    run: int
    pid: int
    signals: list[str] = []
    """Signals that were sent to it; ``KILL`` for a kill of the whole tree."""


class World:
    """A supervisor, and the system around it."""

    def __init__(
        self,
        services: dict[str, dict[str, object]] | None = None,
        random: Callable[[], float] = lambda: 0.5,
        *,
        silent: bool = False,
        origins: dict[str, str] | None = None,
    ) -> None:
        """Declare ``services`` with an ``initialize``, unless ``silent``. A ``random`` of 0.5 means no jitter.

        ``origins`` are the addresses that the app itself keeps.
        """
        self.now = 1_000.0
        self.core = Supervisor(SERVER, OUR_PID, GUARANTEES, random, self._make_token)
        self.effects: list[Effect] = []
        self.tokens: list[str] = []
        self.told: list[AnyNotification] = []
        self.choosing: dict[str, ChoosePort] = {}
        self.preparing: dict[str, Prepare] = {}
        self.spawning: dict[str, Spawn] = {}
        self.processes: dict[str, Process] = {}
        self.awaiting: dict[str, AwaitReady] = {}
        self.checks: dict[str, CheckHealth] = {}
        self.finding: dict[str, FindListeners] = {}
        self.looking: list[FindOwner] = []
        self.ports: dict[str, int] = {}
        self.unanswered: list[Id] = []
        self.answers: dict[Id, Reply | Refuse] = {}
        self.listener: Callable[[Effect], None] = lambda effect: None
        self.grace: int | None = None
        self.app_gone = False
        self.killed_all = False
        self.exit_code: int | None = None
        self._laws = Laws(self.core, self._is_alive, self._is_killed)
        self._next_pid = 100
        self._next_id = 1
        if not silent:
            initialize = Initialize(protocol_version=1, services={**(services or {})}, origins=origins or {})
            self.ask(initialize, "initialize")

    def _make_token(self) -> str:
        self.tokens.append(f"{len(self.tokens):x}" * 64)
        return self.tokens[-1]

    # ── the client ───────────────────────────────────────────────────────────────────────────────────────────────────

    def ask(self, request: AnyRequest, call: Id | UnsetType = UNSET) -> list[Effect]:
        """Send a request (with an id, if one is given)."""
        if call is not UNSET:
            self.unanswered.append(call)
        self._laws.asked(call, request, self.now)
        return self.step(Received(call, request))

    def call(self, request: AnyRequest) -> Id:
        """Send a request with a new id; return the id."""
        call = self._next_id
        self._next_id += 1
        self.ask(request, call)
        return call

    def start(self, service: str = "web") -> Id:
        """See ``call``."""
        return self.call(Start(service))

    def stop(self, service: str = "web") -> Id:
        """See ``call``."""
        return self.call(Stop(service))

    def restart(self, service: str = "web") -> Id:
        """See ``call``."""
        return self.call(Restart(service))

    def shutdown(self, grace_ms: int | None = None) -> Id:
        """See ``call``."""
        return self.call(Shutdown(grace_ms))

    def status(self, service: str = "web") -> Any:
        """Return the service's status, by a request."""
        return self.result(self.call(Status(service))).services[service]

    def logs(self, service: str = "web", tail: int = 100) -> list[str]:
        """Return the last lines, by a request."""
        return [line.text for line in self.result(self.call(Logs(service, tail))).lines]

    def result(self, call: Id) -> Any:
        """Return the request's result."""
        answer = self.answers[call]
        assert isinstance(answer, Reply), answer
        return answer.result

    def error(self, call: Id) -> Any:
        """Return the request's error."""
        answer = self.answers[call]
        assert isinstance(answer, Refuse), answer
        return answer.error

    # ── the system ───────────────────────────────────────────────────────────────────────────────────────────────────

    def prepared(
        self,
        service: str = "web",
        port: int | None = 5173,
        steps: tuple[str, ...] = (),
        **endpoint: Any,
    ) -> None:
        """Report the launch as prepared, with this port (``None``: it needs none)."""
        effect = self.preparing.pop(service)
        log_file = endpoint.pop("log_file", None)
        if port is not None:
            self.ports[service] = port
        where = None if port is None else Endpoint(endpoint.pop("host", "127.0.0.1"), port, **endpoint)
        before = tuple(Launch(("sh", "-c", step), "/project") for step in steps)
        self.step(Prepared(service, effect.run, Launch(("serve",), "/project", before=before), where, log_file))

    def chosen(self, service: str, port: int = 5173, host: str = "127.0.0.1") -> None:
        """Report the port that was chosen for a service before its start."""
        del self.choosing[service]
        self.ports[service] = port
        self.step(PortChosen(service, Endpoint(host, port)))

    def not_chosen(self, service: str, error: SidecarError) -> None:
        """Report that no port could be chosen."""
        del self.choosing[service]
        self.step(PortNotChosen(service, error))

    def prepare_fails(self, error: SidecarError, service: str = "web") -> None:
        """Report that the preparation failed: no such program."""
        self.step(PrepareFailed(service, self.preparing.pop(service).run, error))

    def spawned(self, service: str = "web") -> None:
        """Report that the program runs."""
        effect = self.spawning.pop(service)
        self._next_pid += 1
        self.processes[service] = Process(effect.run, self._next_pid, [])
        self.step(Spawned(service, effect.run, self._next_pid))

    def spawn_fails(self, error: SidecarError, service: str = "web") -> None:
        """Report that the system refuses the spawn."""
        self.step(SpawnFailed(service, self.spawning.pop(service).run, error))

    def probe(
        self,
        verdict: Verdict = "ok",
        service: str = "web",
        detail: str = "",
        address: Address = PLAIN,
        *,
        reached: bool = True,
    ) -> None:
        """Report the readiness probe's result. ``reached``: it got a connection."""
        effect = self.awaiting[service]
        if verdict == "ok":
            del self.awaiting[service]
        self.step(Probed(service, effect.run, 0, verdict, detail, address, reached))

    def finds(self, *places: tuple[str, int], service: str = "web", blind: bool = False) -> None:
        """Report where the service listens. ``blind``: that cannot be read."""
        effect = self.finding.pop(service)
        self.step(Listening(service, effect.run, None if blind else places))

    def owner(self, owner: OriginOwner, service: str | None = None) -> None:
        """Report the result of the oldest look-up of an origin's owner."""
        self.step(OwnerFound(self.looking.pop(0).number, owner, service))

    def check(self, verdict: Verdict, service: str = "web", detail: str = "no answer") -> None:
        """Report the running health check's result."""
        effect = self.checks.pop(service)
        self.step(Probed(service, effect.run, effect.turn, verdict, detail))

    def prints(self, *lines: str, service: str = "web", stream: Stream = "stdout", partial: str = "") -> None:
        """Report that the program has written lines, or an unfinished ``partial`` one."""
        size = sum(map(len, lines)) + len(partial)
        self.step(Output(service, self.processes[service].run, stream, lines, size, partial))

    def dies(
        self,
        service: str = "web",
        code: int | None = None,
        signal: str | None = None,
        left: tuple[int, ...] = (),
    ) -> None:
        """Report that the tree has ended, except the processes ``left``; by default by SIGKILL."""
        process = self.processes.pop(service)
        self.awaiting.pop(service, None)
        self.finding.pop(service, None)
        if code is None and signal is None:
            signal = "SIGKILL"
        self._laws.died(service, self.now)
        self.step(Exited(service, process.run, code, signal, left))

    def runs(self, service: str = "web", port: int | None = 5173) -> None:
        """Request a start, and go on until the program runs but is not ready."""
        self.prepared(service, port)
        self.spawned(service)

    def up(self, service: str = "web", port: int | None = 5173) -> Id:
        """Start it and make it ready."""
        call = self.start(service)
        self.runs(service, port)
        if service in self.awaiting:
            self.probe(service=service)
        assert self.state(service) == "ready"
        return call

    def interrupt(self, number: int = 15) -> None:
        """Report a signal."""
        self.step(Interrupted(number))

    def app_dies(self) -> None:
        """Report that the app is gone."""
        self.app_gone = True
        self._laws.app_died(self.now)
        self.step(AppGone("stdin has ended"))

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def tick(self, late: float = 0.0) -> None:
        """Sleep until the next deadline (and ``late`` seconds more)."""
        before, due = self.now, self.core.next_deadline()
        assert due is not None
        self.now = max(self.now, due) + late
        if late > SUSPEND_S:
            self._laws.slept()
        effects = self.step(Tick())
        if late > SUSPEND_S and due > before:
            assert effects == [], "to have slept is no fault of any service"

    def wait(self, seconds: float) -> None:
        """Let this much time pass, and meet each deadline in time."""
        until = self.now + seconds
        while (due := self.core.next_deadline()) is not None and due <= until:
            self.now = max(self.now, due)
            self.step(Tick())
        self.now = until
        self.step(Tick())

    def overdue(self, service: str = "web") -> None:
        """Let the ready timeout pass. The service turns out to listen nowhere."""
        while self.state(service) == "starting":
            if service in self.finding:
                self.finds(service=service)
            else:
                self.tick()

    # ── what is to be seen ───────────────────────────────────────────────────────────────────────────────────────────

    def state(self, service: str = "web") -> str:
        """Return the core's internal state, without a request."""
        return self.core.services[service].state

    def states(self, service: str = "web") -> list[str]:
        """Return the states that the client was told, without consecutive repetitions."""
        told = [each.state for each in self.told if isinstance(each, ServiceState) and each.service == service]
        return [state for at, state in enumerate(told) if at == 0 or told[at - 1] != state]

    def last(self, kind: type[AnyNotification]) -> Any:
        """Return the last notification of this kind."""
        return [each for each in self.told if isinstance(each, kind)][-1]

    def step(self, event: Event) -> list[Effect]:
        """Pass an event to the core, and perform its effects."""
        effects = self.core.step(event, self.now)
        for effect in effects:
            self.perform(effect)
        self.check_timers()
        if self.exit_code is None:
            self._laws.after_step(self.now)
        return effects

    def perform(self, effect: Effect) -> None:
        """Record the effect; fail if it must not happen now."""
        assert self.exit_code is None, f"{effect} after Exit"
        self.effects.append(effect)
        self.listener(effect)
        self._laws.judge(effect, self.now)
        match effect:
            case Reply(id=call) | Refuse(id=call):
                assert call in self.unanswered, f"{effect} answers no request"
                self.unanswered.remove(call)
                self.answers[call] = effect
            case Notify(message=message):
                self.told.append(message)
            case Relay(output=output):
                self.told.append(output.message())
            case ChoosePort(service=service):
                assert service not in self.choosing
                self._assert_nothing_of(service)
                self.choosing[service] = effect
            case Prepare(service=service):
                assert service not in self.choosing, "its port is chosen twice at once"
                assert self.core._exit_code is None, "a new run after the end has begun"
                self._assert_nothing_of(service)
                self.preparing[service] = effect
            case Spawn(service=service):
                assert not self.app_gone, "a spawn while the app is gone"
                self._assert_nothing_of(service)
                self.spawning[service] = effect
            case AwaitReady(service=service):
                self.awaiting[service] = effect
            case FindListeners(service=service):
                self.finding[service] = effect
            case FindOwner():
                self.looking.append(effect)
            case CheckHealth(service=service):
                self.checks[service] = effect
            case Terminate(service=service, signal=name):
                self.processes[service].signals.append(name)
            case Kill(service=service):
                self.processes[service].signals.append("KILL")
            case Release(service=service):
                self._assert_nothing_of(service)
                self.ports.pop(service, None)
            case RememberPort(service=service, endpoint=endpoint):
                assert self.ports[service] == endpoint.port
            case AnnounceGrace(ms=ms):
                self.grace = ms
            case KillAll():
                self.killed_all = True
                self.processes.clear()
            case Exit(code=code):
                assert self.killed_all or not (self.preparing or self.spawning or self.processes)
                assert self.killed_all or self.choosing or not self.ports, "a port was kept"
                self.exit_code = code

    def _is_held(self, service: str) -> bool:
        """Return whether the service waits for a dependency, or for a port to be chosen, its own or another's."""
        waiting_for = self.core.services[service].status(self.now).waiting_for
        for each in waiting_for:
            other = self.core.services[each]
            assert other.desired == "running", "it waits for what will not come"
            assert other.state != "ready", "it waits for what is there"
        if waiting_for:
            return True
        needed = {service, *self.core._neighbours._book.targets(service)}
        return bool(needed & {*self.choosing, *self.preparing})

    def _is_alive(self, service: str) -> bool:
        return service in self.preparing or service in self.spawning or service in self.processes

    def _is_killed(self, service: str) -> bool:
        """Return whether the service is killed, or will be as soon as it comes up."""
        return service not in self.processes or "KILL" in self.processes[service].signals

    def _assert_nothing_of(self, service: str) -> None:
        assert not self._is_alive(service)

    def check_timers(self) -> None:
        """Assert that everything that waits for time has a timer."""
        if self.exit_code is not None:
            return
        timed = self.core.next_deadline() is not None
        for name, service in self.core.services.items():
            process = self.processes.get(name)
            match service.state:
                case "starting":
                    bounded = timed or name in self.finding or not service.config.ready_timeout_ms
                    assert process is None or bounded, "nothing bounds the start"
                    assert process or name in self.preparing or name in self.spawning or self._is_held(name)
                case "stopping":
                    assert process is None or "KILL" in process.signals or timed, "nothing ends a stubborn program"
                    assert process or name in self.preparing or name in self.spawning
                case "backingOff":
                    assert timed, "nothing ends the backoff"
                    self._assert_nothing_of(name)
                case "ready" | "unhealthy":
                    assert (process is None) is isinstance(service.config, TaskService)
                case "stopped" | "failed":
                    self._assert_nothing_of(name)
