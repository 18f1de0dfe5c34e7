"""The loop, with the fake host and a client that reacts to messages."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import pytest

from sidecar.core.events import Address, AppGone, Event, Launch, Output, Swept
from sidecar.core.supervisor import Supervisor
from sidecar.errors import PortUnavailableError
from sidecar.exit_codes import EXIT_INTERNAL
from sidecar.host.base import Child, Claim, Ended, Host
from sidecar.protocol.messages import (
    AnyNotification,
    CheckOriginResult,
    Failure,
    Id,
    Result,
    Server,
    ServiceExited,
    ServiceLog,
    ServiceReady,
    ServiceState,
    SupervisorSwept,
)
from sidecar.protocol.requests import AnyRequest, CheckOrigin, Initialize, Shutdown, Start, Stop
from sidecar.protocol.rpc import Received
from sidecar.runtime import loop as module
from sidecar.runtime import workers
from sidecar.runtime.loop import Call, ChildSignal, Inbox, Runtime, SignalSeen
from sidecar.runtime.run import child_died
from sidecar.services import launch
from sidecar.services.probe import Answer
from tests.support.fakes import PROGRAM, FakeHost

LIFE_S = 60.0
"""Bound on a test. A loop that still runs then hangs: the test ends it, and fails."""

Hear = Callable[["Loop", object], None]


class Loop:
    """A runtime. This object also plays its surroundings and its front, and passes all messages to ``hear``."""

    def __init__(
        self,
        services: dict[str, dict[str, object]],
        hear: Hear = lambda _loop, _said: None,
        host: type[FakeHost] = FakeHost,
    ) -> None:
        self.inbox = Inbox()
        self.fake = host(lambda: self.inbox.put(ChildSignal()))
        self.host: Host = self.fake
        self.said: list[object] = []
        self.noted: list[ServiceState | ServiceReady] = []
        self.grace: int | None = None
        self.closed = 0
        self.settled = threading.Event()
        self.settled.set()
        self._hear = hear
        self._calls = 0
        core = Supervisor(Server("test", "0"), 1, self.host.guarantees(), lambda: 0.5, lambda: "secret")
        self.runtime = Runtime(core, self, self, self.inbox)
        self.ask(Initialize(protocol_version=1, services={**services}))

    # methods of Surroundings and Front
    def wait_settled(self) -> None:
        self.settled.wait(LIFE_S)

    def announce_grace(self, ms: int) -> None:
        self.grace = ms

    def note(self, told: ServiceState | ServiceReady) -> None:
        self.noted.append(told)

    def reply(self, call: Id, result: Result) -> None:
        self._told(result)

    def refuse(self, call: Id, error: Failure) -> None:
        self._told(error)

    def notify(self, message: AnyNotification) -> None:
        self._told(message)

    def relay(self, output: Output) -> None:
        self._told(output.message())

    def pace(self) -> None:
        pass

    def close(self) -> None:
        self.closed += 1

    def _told(self, what: object) -> None:
        self.said.append(what)
        self._hear(self, what)

    # methods for tests
    def ask(self, request: AnyRequest) -> None:
        self._calls += 1
        self.inbox.put(Received(self._calls, request))

    def run(self) -> int:
        """Run the loop to its end."""
        alarm = threading.Timer(LIFE_S, lambda: self.inbox.put(AppGone("the test hangs")))
        alarm.start()
        try:
            return self.runtime.run()
        finally:
            alarm.cancel()
            alarm.join()

    def of(self, kind: type[Any]) -> list[Any]:
        return [it for it in self.said if isinstance(it, kind)]


@pytest.fixture(autouse=True)
def program(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Take every word for a program, and wait for the threads at the end of the test."""
    monkeypatch.setenv("SIDECAR_STATE_DIR", str(tmp_path_factory.mktemp("state")))
    monkeypatch.setattr(launch, "plan", lambda name, config, warn: Launch(tuple(config.command), "/", port=config.port))
    yield
    wait_for_threads()


def wait_for_threads() -> None:
    for thread in threading.enumerate():
        if thread.daemon and thread is not threading.current_thread():
            thread.join(LIFE_S)
            assert not thread.is_alive(), thread.name


def service(*words: str, **more: object) -> dict[str, object]:
    return {"type": "command", "command": [PROGRAM, *words], "restart": {"policy": "never"}, **more}


def when(kind: type[Any], act: Callable[[Loop], None], **fields: object) -> Hear:
    """Call ``act`` once at the first message of this kind with these fields."""
    done: list[object] = []

    def hear(loop: Loop, said: object) -> None:
        if not done and isinstance(said, kind) and all(getattr(said, name) == it for name, it in fields.items()):
            done.append(said)
            act(loop)

    return hear


def both(*hears: Hear) -> Hear:
    def hear(loop: Loop, said: object) -> None:
        for each in hears:
            each(loop, said)

    return hear


def shut_down(loop: Loop) -> None:
    loop.ask(Shutdown())


def test_a_service_lives_from_its_start_to_the_shutdown() -> None:
    loop = Loop({"web": service("print:hello", "hold")}, when(ServiceLog, shut_down))
    loop.ask(Start("web"))
    assert loop.run() == 0
    assert [it.state for it in loop.of(ServiceState)] == [
        "starting",
        "starting",
        "starting",
        "ready",
        "stopping",
        "stopped",
    ]
    assert loop.of(ServiceLog) == [ServiceLog("web", "stdout", ("hello",), seq=1)]
    assert loop.fake.done == [("spawn", "web"), ("SIGTERM", "web"), ("kill all", "")]
    assert loop.closed == 1


def test_output_is_told_whole_before_the_exit_that_follows_it() -> None:
    lines = [f"print:{number}" for number in range(200)]
    loop = Loop({"web": service(*lines, "err:last", "exit:3")}, when(ServiceExited, shut_down))
    loop.ask(Start("web"))
    assert loop.run() == 0
    at = loop.said.index(loop.of(ServiceExited)[0])
    before = [line for it in loop.said[:at] if isinstance(it, ServiceLog) for line in it.lines]
    assert sorted(before) == sorted([*map(str, range(200)), "last"])
    assert loop.of(ServiceExited)[0].code == 3


def test_effects_are_performed_in_order_before_the_next_event() -> None:
    loop = Loop({"one": service("hold"), "two": service("hold")}, when(ServiceReady, shut_down, service="two"))
    loop.ask(Start("one"))
    loop.ask(Start("two"))
    assert loop.run() == 0
    done = loop.fake.done
    assert done.index(("SIGTERM", "one")) < done.index(("SIGTERM", "two"))
    assert done[-1] == ("kill all", "")


def test_a_program_that_cannot_be_started_is_refused() -> None:
    web: dict[str, object] = {"type": "command", "command": ["nothing"]}
    loop = Loop({"web": web}, when(Failure, shut_down))
    loop.ask(Start("web"))
    assert loop.run() == 0
    assert loop.of(Failure)[0].data["kind"] == "ProcessSpawnFailed"


def test_a_fault_of_ours_in_a_preparations_thread_reaches_whoever_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(*_: object) -> Launch:
        raise ZeroDivisionError

    monkeypatch.setattr(launch, "plan", plan)
    loop = Loop({"web": service("hold")}, when(Failure, shut_down))
    loop.ask(Start("web"))
    assert loop.run() == 0
    (failure,) = loop.of(Failure)
    assert failure.data["kind"] == "InternalError"
    assert "ZeroDivisionError" in failure.message


def test_a_port_is_chosen_for_a_service_that_another_refers_to() -> None:
    refers = {"api": service("hold", port={}), "web": service("hold", env={"API": "{services.api.port}"})}
    loop = Loop(refers, when(ServiceReady, shut_down, service="web"))
    loop.ask(Start("web"))
    assert loop.run() == 0
    assert {it.service for it in loop.of(ServiceState)} == {"web"}, "api itself is not started"


@pytest.mark.parametrize(
    ("fault", "kind"), [(ZeroDivisionError(), "InternalError"), (PortUnavailableError("none"), "PortUnavailable")]
)
def test_a_port_that_cannot_be_chosen_fails_whoever_refers_to_it(
    fault: Exception, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def port_config(_: object) -> None:
        raise fault

    monkeypatch.setattr(launch, "port_config", port_config)
    refers = {"api": service("hold", port={}), "web": service("hold", env={"API": "{services.api.port}"})}
    loop = Loop(refers, when(Failure, shut_down))
    loop.ask(Start("web"))
    assert loop.run() == 0
    assert loop.of(Failure)[0].data["kind"] == kind


def test_a_fault_of_ours_in_a_health_check_is_said_and_the_checks_go_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    checks: list[int] = []

    def attempt(*_: object) -> tuple[str, str]:
        checks.append(1)
        if len(checks) == 3:
            shut_down(loop)
        raise ZeroDivisionError("in the probe")

    monkeypatch.setattr(workers, "attempt", attempt)
    monkeypatch.setattr(workers, "await_ready", lambda *args: args[-1](Answer("ok", "it is ready"), Address()))
    web = service("hold", port={"sticky": False}, ready={"type": "tcp"}, health={"intervalMs": 1})
    loop = Loop({"web": web})
    loop.ask(Start("web"))
    assert loop.run() == 0
    assert len(checks) >= 3
    assert [it.reason for it in loop.of(ServiceExited)] == ["stopped"]
    assert "in the probe" in capfd.readouterr().err


@pytest.mark.parametrize("printed", [True, False])
def test_dev_server_is_asked_for_its_page_only_without_a_printed_address(
    monkeypatch: pytest.MonkeyPatch, *, printed: bool
) -> None:
    def await_ready(*args: Any) -> None:
        answer = Answer("ok", "it answers", "http", "127.0.0.1")
        if printed:
            args[-1](answer, Address())  # send the core everything that it waits for
        args[-1](answer, Address(base=None))

    def find_base(address: str, _endpoint: object) -> str:
        asked.append(address)
        return "/app/"

    asked: list[str] = []
    monkeypatch.setattr(workers, "await_ready", await_ready)
    monkeypatch.setattr(workers, "find_base", find_base)
    monkeypatch.setattr(workers, "PRINTED_S", 60 if printed else 0)
    web = service("hold", port={"sticky": False}, ready={"type": "tcp"})
    loop = Loop({"web": web}, when(ServiceReady, shut_down))
    loop.ask(Start("web"))
    assert loop.run() == 0
    url = loop.of(ServiceReady)[0].url or ""
    assert (asked, url.endswith("/app/")) == (([], False) if printed else (["127.0.0.1"], True))


@pytest.mark.parametrize("words", [("print:hello", "hold"), ("exit:1",)], ids=["output", "end"])
def test_output_and_the_end_of_a_program_stir_what_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    def await_ready(*args: Any) -> None:
        stirred.append(args[4].wait(LIFE_S / 2))
        args[-1](Answer("ok", "it answers", "http", "127.0.0.1"), Address())

    stirred: list[bool] = []
    monkeypatch.setattr(workers, "await_ready", await_ready)
    web = service(*words, port={"sticky": False}, ready={"type": "tcp"})
    loop = Loop({"web": web}, both(when(ServiceReady, shut_down), when(ServiceExited, shut_down)))
    loop.ask(Start("web"))
    assert loop.run() == 0
    wait_for_threads()
    assert stirred == [True]


def test_our_fault_in_a_readiness_probe_is_said_and_the_start_times_out(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def await_ready(*_: object) -> None:
        raise ZeroDivisionError("in the probe")

    monkeypatch.setattr(workers, "await_ready", await_ready)
    web = service("hold", port={"sticky": False}, ready={"type": "tcp"}, readyTimeoutMs=50)
    loop = Loop({"web": web}, when(Failure, shut_down))
    loop.ask(Start("web"))
    assert loop.run() == 0
    assert loop.of(Failure)[0].data["kind"] == "TimeoutWaitingForServer"
    assert "in the probe" in capfd.readouterr().err


def test_nothing_is_started_before_what_earlier_runs_left_is_gone() -> None:
    def settle(loop: Loop) -> None:
        assert loop.fake.done == []
        loop.settled.set()

    loop = Loop({"web": service("hold")}, both(when(SupervisorSwept, settle), when(ServiceReady, shut_down)))
    loop.settled.clear()
    loop.ask(Start("web"))
    loop.inbox.put(Swept(SupervisorSwept(processes=(), groups=0, records=1, folders=0, problems=())))
    assert loop.run() == 0
    assert loop.fake.done[0] == ("spawn", "web")


@pytest.mark.parametrize("kind", [ServiceState, ServiceReady, ServiceLog])
def test_a_front_that_raises_ends_every_tree_and_is_an_internal_error(
    kind: type[Any], capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(loop: Loop) -> None:
        raise ZeroDivisionError("in the front")

    loop = Loop({"web": service("daemon", "print:up", "hold")}, when(kind, fail))
    loop.ask(Start("web"))
    assert loop.run() == EXIT_INTERNAL
    assert loop.fake.trees == {}
    assert loop.closed == 1
    assert "in the front" in capfd.readouterr().err


def test_a_host_that_raises_is_an_internal_error_too(capfd: pytest.CaptureFixture[str]) -> None:
    loop = Loop({"web": service("hold")}, when(ServiceReady, lambda it: it.ask(Stop("web"))))

    def terminate(service: str, signal: str) -> None:
        raise ZeroDivisionError("in the host")

    loop.fake.terminate = terminate  # type: ignore[method-assign]
    loop.ask(Start("web"))
    assert loop.run() == EXIT_INTERNAL
    assert loop.fake.trees == {}
    assert "in the host" in capfd.readouterr().err


def test_streams_that_never_end_do_not_hold_up_an_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process outside every tree still holds the pipes."""
    monkeypatch.setattr(module, "DRAIN_S", 0.01)
    heirs: list[int] = []
    loop = Loop({"web": service("print:up", "hold")}, both(when(ServiceReady, lambda it: it.ask(Stop("web")))))
    spawn = loop.fake.spawn

    def spawn_and_keep(service: str, launch: Launch) -> Child:
        child = spawn(service, launch)
        heirs.extend(map(os.dup, (loop.fake.trees[service].stdout, loop.fake.trees[service].stderr)))
        return child

    loop.fake.spawn = spawn_and_keep  # type: ignore[method-assign]
    loop.ask(Start("web"))
    loop._hear = both(loop._hear, when(ServiceState, shut_down, state="stopped"))
    assert loop.run() == 0
    assert len(loop.of(ServiceExited)) == 1
    for fd in heirs:
        os.close(fd)


@pytest.mark.parametrize(
    ("seen", "insisted"),
    [
        (["guard"], False),
        (["us"], False),
        (["guard", "us"], False),
        (["us", "guard"], False),
        (["us", "guard", "bootloader"], False),
        (["bootloader", "guard", "us"], False),
        (["guard", "guard"], True),
        (["us", "bootloader", "guard", "bootloader"], True),
    ],
)
def test_a_signal_that_comes_to_each_of_us_counts_once(
    seen: list[Literal["us", "guard", "bootloader"]], insisted: bool
) -> None:
    """A terminal signals the whole group, which counts once. A second signal to the same process counts again."""

    def interrupt(loop: Loop) -> None:
        for to in seen:
            loop.inbox.put(SignalSeen(signal.SIGINT, to))
        loop.inbox.put(Call(lambda: asked(loop)))

    def asked(loop: Loop) -> Iterable[Event]:
        assert ("SIGTERM", "web") in loop.fake.done  # got the stop signal, and the last signal did not kill it
        loop.host.kill("web")
        loop.inbox.put(ChildSignal())
        return []

    loop = Loop({"web": service("ignore:SIGTERM", "hold")}, when(ServiceReady, interrupt))
    loop.ask(Start("web"))
    assert loop.run() == 128 + signal.SIGINT
    assert (("kill", "web") not in loop.fake.done) == insisted


def test_after_the_end_is_decided_nothing_more_happens() -> None:
    loop = Loop({"web": service("hold")})
    loop.inbox.put(AppGone("the app has ended"))
    loop.ask(Start("web"))
    assert loop.run() == 3
    assert loop.fake.done == [("kill all", ""), ("kill all", "")]


def test_an_app_that_dies_while_a_program_is_prepared_leaves_none() -> None:
    loop = Loop({"web": service("hold")}, when(ServiceState, lambda it: it.inbox.put(AppGone("gone"))))
    loop.ask(Start("web"))
    assert loop.run() == 3
    assert loop.fake.trees == {}


def test_the_grace_that_services_want_is_told_to_the_guard() -> None:
    loop = Loop({"web": service("hold", stop={"appDeathGraceMs": 70})}, when(object, shut_down))
    assert loop.run() == 0
    assert loop.grace == 70


def test_what_a_front_wants_done_is_done_one_event_after_the_other() -> None:
    started: list[object] = []

    def work() -> Iterator[Event]:
        yield Received(50, Start("web"))
        started.extend(loop.of(ServiceState))
        yield Received(51, Shutdown())

    loop = Loop({"web": service("hold")})
    loop.inbox.put(Call(work))
    assert loop.run() == 0
    assert [it.state for it in started if isinstance(it, ServiceState)] == ["starting"]


def test_a_death_of_something_else_is_no_exit() -> None:
    def signal_and_shut_down(loop: Loop) -> None:
        loop.inbox.put(ChildSignal())
        shut_down(loop)

    loop = Loop({"web": service("hold")}, when(ServiceReady, signal_and_shut_down))
    loop.ask(Start("web"))
    assert loop.run() == 0
    assert [it.reason for it in loop.of(ServiceExited)] == ["stopped"]
    assert loop.host.reap() == list[Ended]()


def test_a_deadline_is_kept_while_others_die_without_end() -> None:
    """For example, a service left a process that forks and exits in a loop."""

    def die_on(loop: Loop) -> None:
        loop.inbox.put(ChildSignal(lambda: die_on(loop)))

    def stop_while_they_do(loop: Loop) -> None:
        shut_down(loop)
        die_on(loop)

    loop = Loop(
        {"web": service("ignore:SIGTERM", "hold", stop={"timeoutMs": 20})}, when(ServiceReady, stop_while_they_do)
    )
    loop.ask(Start("web"))
    assert loop.run() == 0
    assert ("kill", "web") in loop.fake.done


def test_one_notice_waits_for_all_deaths_until_it_is_taken() -> None:
    inbox, told = Inbox(), threading.Event()
    for _ in range(3):
        child_died(inbox, told)
    assert inbox.qsize() == 1
    notice = inbox.get()
    assert isinstance(notice, ChildSignal)
    notice.taken()
    child_died(inbox, told)
    assert inbox.qsize() == 1


def test_the_owner_of_an_origin_is_looked_for_beside_the_loop() -> None:
    """A look-up that hangs blocks nothing else. The end of the run answers the request that waits for it."""
    began, go = threading.Event(), threading.Event()

    class Slow(FakeHost):
        def owner_of(self, address: str, port: int) -> Claim:
            began.set()
            assert go.wait(LIFE_S)
            return super().owner_of(address, port)

    def asked(loop: Loop) -> None:
        loop.ask(CheckOrigin("http://127.0.0.1:4000"))
        loop.ask(Stop("web"))

    def stopped(loop: Loop) -> None:
        assert began.wait(LIFE_S)
        go.set()

    loop = Loop(
        {"web": service("listen:127.0.0.1=4000", "hold")},
        both(
            when(ServiceReady, asked),
            when(ServiceState, stopped, state="stopped"),
            when(CheckOriginResult, shut_down),
        ),
        host=Slow,
    )
    loop.ask(Start("web"))
    assert loop.run() == 0
    assert loop.of(CheckOriginResult) == [CheckOriginResult("http://127.0.0.1:4000", "nobody")]
