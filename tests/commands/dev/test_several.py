"""``sidecar dev`` with several services: status lines, keys for one of them, and failures that end no other."""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

assert sys.platform == "linux"  # for mypy; conftest.py leaves these tests out elsewhere

from sidecar.commands.dev.client import DevFront
from sidecar.commands.dev.status_line import StatusLines
from sidecar.commands.dev.view import REPLAYED, Keys, TerminalDisplay
from sidecar.config.services import CommandService, Service, TaskService
from sidecar.core.events import Output
from sidecar.protocol.messages import (
    Failure,
    LogLine,
    LogsResult,
    ServiceExited,
    ServiceReady,
    ServiceRestarting,
    ServiceState,
    State,
)
from sidecar.protocol.requests import AnyRequest, Logs, Restart, Shutdown, Start, Stop
from sidecar.protocol.rpc import Received
from sidecar.runtime.loop import Inbox
from sidecar.terminal.screen import Screen
from sidecar.terminal.style import Glyphs, Style, load_style
from tests.commands.dev.support import SERVICE, Terminal, ask, environment, with_rich

Dev = Callable[..., Terminal]

SERVICES: dict[str, Service] = {
    "db": TaskService(command=["migrate"]),
    "api": CommandService(command=["serve"]),
    "web": CommandService(command=["vite"]),
}
BROKEN = Failure(-32030, "it is broken")


def status_lines(*services: str) -> StatusLines:
    words = {name: "done" if name == "db" else "ready" for name in services or SERVICES}
    return StatusLines(words, list(words)[-1], -1, lambda: None, keys=True)


class Desk:
    """The whole view without a terminal: keys in, requests out. ``written`` is the terminal's content."""

    def __init__(self) -> None:
        self._inbox: Inbox = queue.SimpleQueue()
        self._style = load_style("ascii", terminal=True, colour=False, services=list(SERVICES))
        self.status = status_lines()
        self.screen = Screen(-1, lambda: self._style, self.status, "ascii")
        display = TerminalDisplay(self.screen, self.status, None)
        self.front = DevFront("web", self._inbox, display, None, attended=True)
        self._keys = Keys(self.front, display, self.screen, self.status, None)
        self.front.begin(SERVICES)
        self.asked()

    def asked(self) -> list[AnyRequest]:
        found = []
        while not self._inbox.empty():
            item = self._inbox.get()
            assert isinstance(item, Received)
            found.append(item.request)
        return found

    def press(self, keys: str) -> list[AnyRequest]:
        for key in keys:
            assert not list(self._keys.press(key))
        return self.asked()

    def state(self, service: str, state: State, error: Failure | None = None) -> list[AnyRequest]:
        self.front.notify(ServiceState(service, state, error=error))
        return self.asked()

    def prints(self, service: str, *lines: str, partial: str = "") -> None:
        self.front.relay(Output(service, 1, "stdout", lines, 10, partial))

    def written(self) -> list[str]:
        text = self.screen._compose(self._style, self.screen._take_batch())
        above = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text).replace("\r", "").splitlines()
        return above[: -len(SERVICES)]


# ── pick one ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_page_is_picked_at_first() -> None:
    assert Desk().press("r") == [Restart("web")]


@pytest.mark.parametrize(("keys", "name"), [("1", "db"), ("2", "api"), ("3", "web"), ("4", "web"), ("\t", "db")])
def test_a_number_or_tab_picks_a_service(keys: str, name: str) -> None:
    desk = Desk()
    desk.press(keys)
    assert desk.status.chosen == name
    assert desk.press("r") == [Restart(name)]


def test_without_status_lines_the_pick_is_told() -> None:
    desk = Desk()
    desk.screen._bar = None
    desk.press("2")
    assert desk.screen._take_batch() == [(("picked ", "dim"), ("api", "bold"))]


def test_capital_r_restarts_all_but_those_that_are_being_stopped() -> None:
    desk = Desk()
    desk.state("api", "stopping")
    assert desk.press("R") == [Restart("db"), Restart("web")]


@pytest.mark.parametrize(
    ("state", "asked"),
    [("ready", [Stop("api")]), ("backingOff", [Stop("api")]), ("stopping", []), ("stopped", [Start("api")])],
)
def test_s_stops_what_runs_and_starts_what_does_not(state: State, asked: list[AnyRequest]) -> None:
    desk = Desk()
    desk.press("2")
    desk.state("api", state)
    assert desk.press("s") == asked


def test_a_service_that_was_stopped_by_a_key_is_waited_for() -> None:
    desk = Desk()
    desk.press("2s3s")
    desk.state("db", "ready")
    desk.state("web", "stopped")
    assert desk.state("api", "stopped") == []
    assert desk.press("s") == [Start("web")]
    desk.state("web", "starting")
    desk.press("2s")
    desk.state("api", "starting")
    desk.state("web", "stopped")
    assert desk.state("api", "stopped") == [Shutdown()], "both ended by themselves"


def test_a_task_that_is_done_does_not_keep_it_running() -> None:
    desk = Desk()
    desk.state("db", "ready")
    desk.state("api", "stopped")
    assert desk.state("web", "stopped") == [Shutdown()]


# ── show only one ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_f_shows_only_the_picked_one_from_its_last_lines_on() -> None:
    desk = Desk()
    desk.prints("web", "one")
    assert desk.press("f") == [Logs("web", REPLAYED)]
    desk.prints("api", "hidden")
    desk.prints("web", "two")  # it is among the new lines
    desk.front.reply(9, LogsResult("web", (LogLine("stdout", "one", 1), LogLine("stderr", "two", 2))))
    desk.prints("web", "three")
    desk.prints("api", "hidden")
    assert desk.written() == [
        "web | one",
        "> only web is shown; f shows all",
        "web | one",
        "web : two",
        "web | three",
    ]
    assert desk.press("f") == []
    desk.prints("api", "seen")
    assert desk.written() == ["> all services are shown again", "api | seen"]


def test_an_unfinished_line_is_shown_with_its_service_and_hidden_with_it() -> None:
    desk = Desk()
    desk.prints("web", partial="Continue? ")
    desk.prints("api", partial="50 %")
    assert desk.written() == ["web | Continue? ", "api | 50 %"]
    desk.press("f")
    assert desk.written()[1:] == []
    desk.front.reply(9, LogsResult("web", (LogLine("stdout", "Continue? "),)))
    assert desk.written() == ["web | Continue? "]
    desk.prints("web", "Continue? yes")
    desk.press("f")
    assert desk.written() == ["web | Continue? yes", "> all services are shown again", "api | 50 %"]


def test_another_pick_shows_that_one_and_ignores_a_late_answer() -> None:
    desk = Desk()
    assert desk.press("f2") == [Logs("web", REPLAYED), Logs("api", REPLAYED)]
    desk.front.reply(8, LogsResult("web", (LogLine("stdout", "late", 1),)))
    desk.front.reply(9, LogsResult("api", (LogLine("stdout", "here", 1),)))
    shown = desk.written()
    assert shown[-1] == "api | here"
    assert not any("late" in line for line in shown)


# ── a failure ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_failed_service_leaves_the_others_alone_and_can_start_again() -> None:
    desk = Desk()
    desk.state("web", "ready")
    assert desk.state("api", "failed", BROKEN) == []
    assert not desk.front.failed
    assert desk.press("2s") == [Start("api")]
    desk.state("api", "starting")
    desk.state("web", "stopped")
    desk.state("db", "stopped")
    assert desk.state("api", "stopped") == [Shutdown()]
    assert desk.front.exit_code == 0, "what failed was started again"


def test_once_all_have_failed_it_ends_with_the_first_one_s_code() -> None:
    desk = Desk()
    desk.front.notify(ServiceExited("db", "exit code 9", 9))
    assert desk.state("db", "failed", BROKEN) == []
    assert desk.state("api", "failed", BROKEN) == []
    assert desk.state("web", "failed", BROKEN) == [Shutdown()]
    assert (desk.front.failed, desk.front.exit_code) == (True, 9)


def test_service_that_ends_at_once_is_shown_as_failed_and_not_retried() -> None:
    desk = Desk()
    desk.state("web", "ready")
    assert desk.state("api", "backingOff", BROKEN) == [Stop("api")]
    desk.front.notify(ServiceRestarting("api", 1, 250, "it ended"))
    assert desk.state("api", "stopped") == []
    assert (desk.status.of("api").state, desk.status.of("api").restarts) == ("failed", 0)
    assert not any("restarting in" in line for line in desk.written())


def test_a_start_that_is_refused_ends_nothing_but_a_wrong_configuration_does() -> None:
    desk = Desk()
    desk.front.refuse(3, BROKEN)
    assert desk.asked() == []
    desk.front.refuse(1, BROKEN)
    assert desk.asked() == [Shutdown()]


# ── the lines ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def rows(status: StatusLines, columns: int = 80, most: int = 9) -> list[str]:
    return status.rows(load_style("ascii", terminal=True, colour=False), columns, most)


def some_states() -> StatusLines:
    status = status_lines()
    status.follow(ServiceState("db", "ready"))
    status.follow(ServiceState("api", "ready", port=8000))
    status.follow(ServiceReady("api", "http://127.0.0.1:8000/", "127.0.0.1", 8000, 7, 3))
    status.follow(ServiceState("web", "failed"))
    return status


def test_each_service_has_a_numbered_line_and_the_picked_one_is_marked() -> None:
    found = [re.sub(r"up \d+ s", "up 0 s", row) for row in rows(some_states())]
    assert found == [
        " 1 * db  done  restarts 0",
        " 2 * api ready  http://127.0.0.1:8000/  up 0 s  restarts 0",
        ">3 * web failed  restarts 0  ? help",
    ]


def test_below_60_columns_the_lines_are_short() -> None:
    status = some_states()
    assert rows(status, 59) == [" 1 * db  done", " 2 * api ready :8000", ">3 * web failed  ? help"]
    assert rows(status, 60)[1].endswith("restarts 0")


@pytest.mark.parametrize(("chosen", "seen"), [("db", [1]), ("api", [2]), ("web", [3])])
def test_on_a_low_terminal_the_picked_one_is_seen_and_the_others_are_counted(chosen: str, seen: list[int]) -> None:
    status = some_states()
    status.chosen = chosen
    found = rows(status, 59, 1)
    assert [int(row[1]) for row in found] == seen
    assert "+2" in found[0]


@pytest.mark.parametrize("most", [1, 2, 3, 9])
def test_lines_are_as_many_as_there_is_room_for(most: int) -> None:
    status = some_states()
    for name in SERVICES:
        status.chosen = name
        assert len(rows(status, 80, most)) == min(most, 3)
        assert any(row.startswith(">") for row in rows(status, 80, most))


def test_each_service_has_a_colour_and_stderr_another_bar() -> None:
    style = load_style("utf-8", terminal=True, colour=True, services=["api", "web"])
    if not style.rich:
        pytest.skip("there is no rich")
    api, web = (style.log(Output(name, 1, "stdout", ("x",), 1)) for name in ("api", "web"))
    assert api.split("api")[0] != web.split("web")[0], "the colours before the names"
    plain = Style(Glyphs("ascii"), None, services=["api", "migrate"])
    assert plain.log(Output("api", 1, "stderr", ("x",), 1)) == "api     : x\n"
    assert plain.log(Output("migrate", 1, "stdout", ("x",), 1)) == "migrate | x\n"


# ── in a terminal ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def project(folder: Path) -> Path:
    """Declare two servers, and a task that they depend on."""
    server = {"type": "command", "command": list(SERVICE), "port": {}, "dependsOn": ["migrate"]}
    task = {"type": "task", "command": ["sh", "-c", "echo migrated"]}
    file = folder / "sidecar.json"
    file.write_text(json.dumps({"page": "web", "services": {"migrate": task, "api": server, "web": server}}))
    return file


def up(terminal: Terminal, name: str, since: int = 0) -> str:
    """Wait until the service is ready; return its URL."""
    return terminal.wait(rf"{name} is ready on (http\S+) after", since)[1]


@with_rich
def test_a_terminal_has_a_line_for_each_service(dev: Dev, project: Path) -> None:
    terminal = dev()
    url = up(terminal, "web")
    terminal.wait(r" 1 ● migrate done  restarts 0")
    terminal.wait(r" 2 ● api     ready  http://\S+  up \d+ s  restarts 0")
    terminal.wait(rf"▸3 ● web     ready  {re.escape(url)}  up \d+ s  restarts 0.*\? help")
    mark = terminal.mark()
    terminal.press("\t")
    terminal.wait(r"▸1 ● migrate done", mark)
    mark = terminal.mark()
    terminal.resize(30, 50)
    terminal.wait(r" 3 ● web     ready :\d+", mark)


def test_keys_are_about_the_picked_service(dev: Dev, project: Path) -> None:
    terminal = dev()
    api, web = up(terminal, "api"), up(terminal, "web")
    mark = terminal.mark()
    terminal.press("2")
    terminal.press("r")
    assert up(terminal, "api", mark) == api
    assert "restarting web" not in terminal.text()
    terminal.press("s")
    terminal.wait("stopping api", mark)
    terminal.wait("api is stopped", mark)
    mark = terminal.mark()
    ask(web, "/say/still-here")
    terminal.wait(r"web +│ still-here", mark)
    terminal.press("s")
    up(terminal, "api", mark)
    terminal.press("q")
    assert terminal.exit_code() == 0
    assert terminal.modes() == terminal.modes_before


def test_only_the_picked_service_is_shown(dev: Dev, project: Path) -> None:
    terminal = dev()
    api, web = up(terminal, "api"), up(terminal, "web")
    ask(api, "/say/before")
    terminal.wait(r"api +│ before")
    mark = terminal.mark()
    terminal.press("2")
    terminal.press("f")
    terminal.wait(r"only api is shown.*(?s:.*)api +│ before", mark)
    ask(web, "/say/hidden")
    ask(api, "/say/seen")
    terminal.wait(r"api +│ seen", mark)
    assert "hidden" not in terminal.text(mark)
    mark = terminal.mark()
    terminal.press("3")
    terminal.wait(r"only web is shown.*(?s:.*)web +│ hidden", mark)
    terminal.press("f")
    terminal.wait("all services are shown again", mark)
    ask(api, "/say/shown-again")
    terminal.wait(r"api +│ shown-again", mark)


def test_a_failure_leaves_the_others_and_the_service_can_be_mended(dev: Dev, project: Path) -> None:
    section = json.loads(project.read_text())
    broken = ["sh", "-c", 'test -e mended || { echo "no mended here"; exit 9; }; exec "$0" "$@"']
    section["services"]["api"] |= {"command": [*broken, *SERVICE]}
    project.write_text(json.dumps(section))
    terminal = dev()
    web = up(terminal, "web")
    terminal.wait("pick api and press r to start it again")
    ask(web, "/say/alive")
    terminal.wait(r"web +│ alive")
    (project.parent / "mended").touch()
    mark = terminal.mark()
    terminal.press("2")
    terminal.press("r")
    up(terminal, "api", mark)
    terminal.press("q")
    assert terminal.exit_code() == 0


def test_when_all_fail_it_ends_with_the_code_of_the_first(dev: Dev, project: Path) -> None:
    section = json.loads(project.read_text())
    section["services"]["migrate"] |= {"command": ["sh", "-c", "exit 9"]}
    project.write_text(json.dumps(section))
    terminal = dev()
    assert terminal.exit_code() == 9
    assert terminal.modes() == terminal.modes_before


def test_its_logs_are_followed_beside_it(dev: Dev, project: Path, folder: Path, sidecar: Sequence[str]) -> None:
    terminal = dev()
    web = up(terminal, "web")
    ask(web, "/say/lilac")
    terminal.wait(r"web +│ lilac")
    words = [*sidecar, "logs", "web", "-n", "100", "-f"]
    with subprocess.Popen(words, cwd=folder, env=environment(folder), stdout=subprocess.PIPE) as logs:
        try:
            assert logs.stdout is not None
            assert any(b"lilac" in line for line in iter(logs.stdout.readline, b""))
            ask(web, "/say/violet")
            assert any(b"violet" in line for line in iter(logs.stdout.readline, b""))
        finally:
            logs.kill()
