from __future__ import annotations

import json
import queue
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pytest

assert sys.platform == "linux"  # for mypy

from sidecar.commands.dev.client import EARLY_S, MOOT, DevFront
from sidecar.commands.dev.plain import PlainDisplay
from sidecar.commands.dev.serve import choose_services
from sidecar.commands.dev.status_line import IDLE_S, SPIN_S, TICK_S, Shown, StatusLines
from sidecar.commands.dev.view import Keys, TerminalDisplay
from sidecar.config.services import CommandService, PortConfig, Service, TcpReady, ViteService
from sidecar.core.events import Output
from sidecar.diagnostics import docs
from sidecar.errors import ConfigurationError
from sidecar.protocol.messages import (
    AnyNotification,
    Failure,
    LogLine,
    ServiceExited,
    ServiceReady,
    ServiceRestarting,
    ServiceState,
    State,
)
from sidecar.protocol.requests import AnyRequest, Initialize, Restart, Shutdown, Start
from sidecar.protocol.rpc import Received
from sidecar.runtime.loop import Call, Inbox
from sidecar.terminal.color import ask_for_colours
from sidecar.terminal.messages import Line
from sidecar.terminal.screen import Screen
from sidecar.terminal.style import Glyphs, Style
from tests.support.waiting import WAIT_S


class FakeDisplay:
    """Records what it is told."""

    def __init__(self) -> None:
        self.shown: list[AnyNotification] = []
        self.failures: list[str] = []

    def show(self, message: AnyNotification) -> None:
        self.shown.append(message)

    def relay(self, output: Output) -> None:
        self.shown.append(output.message())

    def fail(self, error: Failure, going_on: str | None = None) -> None:
        self.failures.append(f"{error.message} ({going_on})" if going_on else error.message)

    def replay(self, service: str, lines: Sequence[LogLine]) -> None:
        self.replayed = service, [line.text for line in lines]

    def close(self) -> None:
        pass


class FakeScreen:
    """Records the text of our own lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def put_output(self, output: Output) -> None:
        pass

    def put(self, *items: Line) -> None:
        self.lines += ["".join(text for text, _ in item) for item in items]


def asked(inbox: Inbox) -> list[AnyRequest]:
    """Return the front's requests to the supervisor since the last call."""
    found = []
    while not inbox.empty():
        item = inbox.get()
        assert isinstance(item, Received)
        found.append(item.request)
    return found


def ready(url: str | None = "http://127.0.0.1:1/") -> ServiceReady:
    return ServiceReady("web", url, "127.0.0.1", 1, 2, 3)


@pytest.fixture
def inbox() -> Inbox:
    return queue.SimpleQueue()


@pytest.fixture
def output() -> FakeDisplay:
    return FakeDisplay()


class Clock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def front(inbox: Inbox, output: FakeDisplay, clock: Clock) -> DevFront:
    return DevFront("web", inbox, output, None, clock)


def crashes(front: DevFront, code: int | None = 3) -> None:
    """Report that the program has ended, and that the core would restart it."""
    error = Failure(-32030, f"web failed: it ended with exit code {code} before it was ready.")
    front.notify(ServiceExited("web", f"exit code {code}", code, None if code is not None else "SIGSEGV"))
    front.notify(ServiceState("web", "backingOff", error=error))
    front.notify(ServiceRestarting("web", 1, 250, error.message))


PROBED = CommandService(command=["x"], port=PortConfig(), ready=TcpReady())


@pytest.mark.parametrize("service", [PROBED, CommandService(command=["x"])], ids=["probed", "unprobed"])
def test_program_that_ends_before_ready_is_not_restarted_and_sets_the_code(
    front: DevFront, inbox: Inbox, output: FakeDisplay, service: CommandService
) -> None:
    front.begin({"web": service})
    if service is not PROBED:
        front.notify(ready(None))  # it is only known to run
    asked(inbox)
    crashes(front)
    assert output.failures == ["web failed: it ended with exit code 3 before it was ready."]
    assert asked(inbox) == [Shutdown()]
    assert front.exit_code == 3
    assert not [it for it in output.shown if isinstance(it, ServiceRestarting)], "there is no restart to report"


def test_a_program_that_was_ready_or_ran_for_long_is_restarted(
    front: DevFront, inbox: Inbox, output: FakeDisplay, clock: Clock
) -> None:
    front.begin({"web": PROBED})
    clock.now = EARLY_S
    crashes(front)
    clock.now = 0.0
    front.notify(ready())
    crashes(front)
    assert output.failures == []
    assert len([it for it in output.shown if isinstance(it, ServiceRestarting)]) == 2


@pytest.mark.parametrize(("code", "handed_on"), [(0, 1), (None, 128 + signal.SIGSEGV)], ids=["clean", "by a signal"])
def test_a_failure_without_a_code_of_its_own_is_never_0(front: DevFront, code: int | None, handed_on: int) -> None:
    front.begin({"web": PROBED})
    crashes(front, code)
    assert front.exit_code == handed_on


@pytest.mark.parametrize(("code", "signal"), [(143, None), (None, "SIGTERM")])
def test_too_slow_start_exits_with_1_however_the_program_ended(
    front: DevFront, code: int | None, signal: str | None
) -> None:
    front.begin({"web": PROBED})
    late = Failure(-32012, "web runs, but was not ready within 1 s.")
    front.notify(ServiceState("web", "stopping", error=late))
    front.notify(ServiceExited("web", late.message, code, signal))
    front.notify(ServiceState("web", "failed", error=late))
    assert front.exit_code == 1


def test_a_service_that_failed_after_it_was_ready_is_1(front: DevFront) -> None:
    front.begin({"web": PROBED})
    front.notify(ready())
    front.notify(ServiceExited("web", "exit code 3", 3))
    front.notify(ServiceState("web", "failed", error=Failure(-32030, "web failed.")))
    assert front.exit_code == 1


def test_a_failure_repeats_the_last_lines_only_where_others_spoke_too() -> None:
    error = Failure(-32030, "api failed.", {"lines": ["why"]})
    shown = []
    for services in (["api"], ["api", "web"]):
        screen = FakeScreen()
        display = PlainDisplay(cast("Screen", screen))
        for service in services:
            display.relay(Output(service, 1, "stdout", ("why",), 3))
        display.fail(error)
        shown.append(screen.lines)
    page = docs("errors", "ServiceFailed")
    assert shown == [["api failed.", page], ["api failed.", "Its last lines:", "    why", page]]


def test_a_page_of_the_documentation_is_named_once() -> None:
    screen = FakeScreen()
    display = PlainDisplay(cast("Screen", screen))
    for code in (-32030, -32030, -32012):
        display.fail(Failure(code, "web failed."), "web")
    assert [line for line in screen.lines if line.startswith("Docs: ")] == [
        docs("errors", "ServiceFailed"),
        docs("errors", "TimeoutWaitingForServer"),
    ]


def test_a_service_that_answers_again_is_told_of() -> None:
    screen = FakeScreen()
    display = PlainDisplay(cast("Screen", screen))
    states: list[State] = ["ready", "unhealthy", "unhealthy", "ready", "ready"]
    for state in states:
        display.show(ServiceState("web", state, detail="no answer" if state == "unhealthy" else None))
    assert screen.lines == ["web is unhealthy: no answer", "web is unhealthy: no answer", "web answers again"]


@pytest.mark.parametrize(("before", "told"), [("starting", []), ("ready", ["web has ended with exit code 0"])])
def test_a_clean_end_is_told_once(before: State, told: list[str]) -> None:
    screen = FakeScreen()
    display = PlainDisplay(cast("Screen", screen))
    display.show(ServiceState("web", before))
    display.show(ServiceExited("web", "exit code 0", 0))
    assert screen.lines == told, "a service that was not ready has failed, and the next message says that"


def test_it_begins_by_declaring_and_starting_the_service(front: DevFront, inbox: Inbox) -> None:
    front.begin({"web": CommandService(command=["x"], env={"A": "b"})})
    hello, start = asked(inbox)
    assert isinstance(hello, Initialize)
    assert hello.services == {"web": {"type": "command", "command": ["x"], "env": {"A": "b"}}}
    assert start == Start("web")


def test_a_failure_is_shown_once_and_ends_it(front: DevFront, inbox: Inbox, output: FakeDisplay) -> None:
    error = Failure(-32030, "web failed.")
    front.notify(ServiceState("web", "failed", error=error))
    front.refuse(2, error)
    assert (output.failures, front.failed) == (["web failed."], True)
    assert asked(inbox) == [Shutdown()]


@pytest.mark.parametrize("code", sorted(MOOT))
def test_a_refusal_that_only_says_that_the_end_came_first_is_no_failure(
    front: DevFront, inbox: Inbox, output: FakeDisplay, code: int
) -> None:
    front.refuse(2, Failure(code, "too late"))
    assert not output.failures
    assert asked(inbox) == []


def test_a_refusal_that_no_state_told_of_is_a_failure(front: DevFront, inbox: Inbox, output: FakeDisplay) -> None:
    front.refuse(1, Failure(-32602, "bad port"))
    assert output.failures == ["bad port"]
    assert asked(inbox) == [Shutdown()]


def test_a_service_that_ended_by_itself_ends_it_without_a_failure(front: DevFront, inbox: Inbox) -> None:
    front.notify(ServiceState("web", "stopped"))
    assert asked(inbox) == [Shutdown()]
    assert not front.failed


def test_it_ends_when_the_last_of_several_services_has_ended(front: DevFront, inbox: Inbox) -> None:
    front.begin({name: CommandService(command=["x"]) for name in ("web", "api")})
    assert asked(inbox)[1:] == [Start("web"), Start("api")]
    front.notify(ServiceState("web", "stopped"))
    assert asked(inbox) == []
    front.notify(ServiceState("api", "stopped"))
    assert asked(inbox) == [Shutdown()]


def test_a_service_that_was_started_again_is_waited_for(front: DevFront, inbox: Inbox) -> None:
    front.begin({name: CommandService(command=["x"]) for name in ("web", "api")})
    front.notify(ServiceState("web", "stopped"))
    front.notify(ServiceState("web", "starting"))
    asked(inbox)
    front.notify(ServiceState("api", "stopped"))
    assert asked(inbox) == []


def test_the_page_is_opened_at_the_first_readiness_that_has_one(inbox: Inbox, output: FakeDisplay) -> None:
    opened: list[str] = []
    front = DevFront("web", inbox, output, opened.append)
    front.notify(ready(None))
    front.notify(ready("http://127.0.0.1:7/"))
    front.notify(ready("http://127.0.0.1:8/"))
    assert opened == ["http://127.0.0.1:7/"]


def test_a_service_whose_addresses_no_thread_can_look_for_goes_on(
    front: DevFront, inbox: Inbox, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    front.begin({"web": CommandService(command=["x"])}, lambda *_: None)
    asked(inbox)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    front.notify(ready(None))
    assert "the addresses of web are not looked for: The system has no thread to spare" in capfd.readouterr().err
    assert asked(inbox) == []


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def lines(*services: str) -> StatusLines:
    return StatusLines(dict.fromkeys(services, "ready"), services[-1], -1, lambda: None, keys=True)


class Desk:
    """Keys and everything they act on, without a terminal."""

    def __init__(self) -> None:
        self.inbox: Inbox = queue.SimpleQueue()
        self.status = lines("web")
        self.screen = Screen(-1, lambda: Style(Glyphs("utf-8"), None), self.status, "utf-8")
        self.output = TerminalDisplay(self.screen, self.status, None)
        self.front = DevFront("web", self.inbox, self.output, None)
        self.keys = Keys(self.front, self.output, self.screen, self.status, None)

    def press(self, keys: str) -> list[AnyRequest]:
        for key in keys:
            assert not list(self.keys.press(key))
        return asked(self.inbox)


def test_the_first_q_asks_and_the_second_insists() -> None:
    assert Desk().press("qq") == [Shutdown(), Shutdown(0)]


def test_r_asks_for_a_restart_but_not_while_it_is_ending() -> None:
    desk = Desk()
    assert desk.press("r") == [Restart("web")]
    desk.front.notify(ServiceState("web", "stopping"))
    assert desk.press("r") == []


def test_other_keys_ask_for_nothing() -> None:
    assert Desk().press("ol?h\nxQ\t1Ff") == []


def test_a_terminal_that_is_gone_asks_for_the_end() -> None:
    desk = Desk()
    assert not list(desk.keys.hang_up())
    assert asked(desk.inbox) == [Shutdown()]


# ── status line ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_restarts_are_counted_whoever_asked_for_them() -> None:
    desk = Desk()
    desk.press("r")
    desk.front.notify(ServiceRestarting("web", 1, 250, "it ended"))
    assert desk.status.of("web").restarts == 2


def test_uptime_and_memory_belong_to_one_run() -> None:
    status = lines("web")
    status.remember("web", 5)
    assert status.of("web") == Shown("web")  # the value was measured in a run that has ended since
    status.follow(ServiceState("web", "ready", port=1))
    status.follow(ready())
    status.remember("web", 5)
    assert status.of("web").page == "http://127.0.0.1:1/"
    status.follow(ServiceState("web", "unhealthy", port=1))
    assert status.of("web").ready_at is not None
    assert status.of("web").memory == 5
    assert status.of("web").page is None, "another program may listen there"
    status.follow(ServiceState("web", "ready", port=1))
    assert status.of("web").page == "http://127.0.0.1:1/"
    status.follow(ServiceState("web", "backingOff", port=1))
    assert status.of("web").page is None
    assert status.of("web").state == "ready", "not restarting yet: sidecar dev may end instead"
    status.follow(ServiceRestarting("web", 1, 250, "it ended"))
    assert status.of("web") == Shown("web", "backingOff", "http://127.0.0.1:1/", 1, restarts=1)


def test_it_is_drawn_often_only_while_something_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    status = lines("web")
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    assert status.pace() == SPIN_S
    status.follow(ServiceState("web", "ready", port=1))
    status.follow(ready())
    assert status.pace() == TICK_S
    now += 60
    assert status.pace() == IDLE_S


# ── the command line's service ────────────────────────────────────────────────────────────────────────────────────────


def only(
    root: str | None, program: list[str], host: str | None = None, port: int | None = None, *, colour: bool = False
) -> tuple[str, Service]:
    """Return the only service of this command line."""
    page, services = choose_services(root, program, host, port, colour=colour)
    assert list(services) == [page]
    return page, services[page]


def test_without_a_program_it_is_a_vite_project(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(variable, raising=False)
    name, config = only("some/where", [], "::1", 3000, colour=True)
    assert isinstance(config, ViteService)
    assert (name, config.root, config.port.host, config.port.preferred) == ("vite", "some/where", "::1", 3000)
    assert config.env == {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"}


def test_the_user_s_own_wish_for_colours_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "0")
    monkeypatch.setenv("CLICOLOR_FORCE", "")
    assert only(None, [], colour=True)[1].env == {}
    for own in ({"NO_COLOR": "1"}, {"NODE_DISABLE_COLORS": "1"}, {"FORCE_COLOR": "0"}, {"CLICOLOR_FORCE": "0"}):
        assert ask_for_colours(own) == {}


def test_no_colours_are_asked_for_where_node_is_told_to_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("NODE_DISABLE_COLORS", "1")
    assert ask_for_colours({}) == {}


def test_a_program_that_takes_a_port_is_ready_when_it_listens() -> None:
    name, config = only(None, ["/usr/bin/node", "x.js", "{port}"])
    assert isinstance(config, CommandService)
    assert (name, config.ready, config.port is None, config.env) == ("node", TcpReady(), False, {})


def test_a_program_that_takes_none_is_ready_when_it_runs() -> None:
    _, config = only("here", ["x"])
    assert isinstance(config, CommandService)
    assert (config.ready, config.port, config.cwd) == (None, None, "here")


def test_a_program_that_names_no_port_gets_the_one_of_the_command_line() -> None:
    _, config = only(None, ["npm", "start"], port=3000)
    assert isinstance(config, CommandService)
    assert (config.ready, config.port) == (TcpReady(), PortConfig(preferred=3000))


@pytest.mark.parametrize("program", [[], ["x", "{port}"]])
def test_a_strict_port_is_the_services(program: list[str]) -> None:
    _, services = choose_services("here", program, None, 3000, strict=True, colour=False)
    [config] = services.values()
    assert config.port == PortConfig(preferred=3000, strict=True)


def test_a_strict_port_is_the_one_of_a_projects_page(tmp_path: Path) -> None:
    services = {
        "web": {"type": "vite"},
        "api": {"type": "command", "command": ["serve"], "port": {"preferred": 8000}},
        "odd": {"type": "command", "command": ["serve"]},
    }
    for page, strict in (("web", PortConfig(strict=True)), ("api", PortConfig(preferred=8000, strict=True))):
        section = {"page": page, "services": services}
        (tmp_path / "tauri.conf.json").write_text(json.dumps({"plugins": {"sidecar": section}}))
        _, found = choose_services(str(tmp_path), [], None, None, strict=True, colour=False)
        assert found[page].port == strict
    section = {"page": "odd", "services": services}
    (tmp_path / "tauri.conf.json").write_text(json.dumps({"plugins": {"sidecar": section}}))
    with pytest.raises(ConfigurationError, match="--strict-port needs --port"):
        choose_services(str(tmp_path), [], None, None, strict=True, colour=False)


@pytest.mark.parametrize(
    ("program", "name"),
    [("a" * 99, "a" * 32), ("b\x1b[2J", "program"), ("caf\udce9", "program"), ("/", "program"), ("dir/x y", "x y")],
)
def test_a_service_is_named_after_its_program_if_that_can_be_shown(program: str, name: str) -> None:
    assert only(None, [program])[0] == name


def test_a_program_that_was_told_no_port_is_said_to_listen_once_it_does(
    front: DevFront, inbox: Inbox, output: FakeDisplay
) -> None:
    """``sidecar dev -- npm run dev``: the user sees the URL, and ``--open`` opens the page."""
    asked_for: list[str] = []
    told = threading.Event()

    def find(service: str, lives: Callable[[], bool], tell: Callable[[str, int, str], None]) -> None:
        asked_for.append(service)
        assert lives()
        tell("127.0.0.1", 5173, "http://127.0.0.1:5173/")
        told.set()

    front.begin({"web": CommandService(command=["npm", "run", "dev"])}, find)
    asked(inbox)
    front.notify(ServiceReady("web", None, None, None, 7, 3))
    assert told.wait(WAIT_S)
    call = inbox.get()
    assert isinstance(call, Call)
    call.work()
    assert asked_for == ["web"]
    assert output.shown[-1] == ServiceReady("web", "http://127.0.0.1:5173/", "127.0.0.1", 5173, 7, 3)


def test_where_a_program_listened_is_not_told_after_its_end(front: DevFront, inbox: Inbox, output: FakeDisplay) -> None:
    told = threading.Event()

    def find(_service: str, _lives: object, tell: Callable[[str, int, str], None]) -> None:
        tell("127.0.0.1", 5173, "http://127.0.0.1:5173/")
        told.set()

    front.begin({"web": CommandService(command=["x"])}, find)
    asked(inbox)
    front.notify(ServiceReady("web", None, None, None, 7, 3))
    assert told.wait(WAIT_S)
    front.notify(ServiceState("web", "stopping"))
    call = inbox.get()
    assert isinstance(call, Call)
    call.work()
    assert isinstance(output.shown[-1], ServiceState)


def test_the_status_line_keeps_the_first_address_that_was_found() -> None:
    line = lines("web")
    for url in (None, "http://127.0.0.1:5173/", "http://127.0.0.1:3000/"):
        line.follow(ready(url))
    assert line.of("web").url == "http://127.0.0.1:5173/"
