"""The output of real programs, as a user sees it and with ``--json``."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

assert sys.platform == "linux"  # for mypy

from tests.commands.dev.support import SERVICE, Terminal, ask, with_rich
from tests.commands.dev.test_piped import READY, Piped, notifications
from tests.support.waiting import AT_GATE, make_gate, open_gate

Run = Callable[..., Piped]
Dev = Callable[..., Terminal]

PYTHON = (sys.executable, "-S", "-c")
"""A Python without -I, which would ignore PYTHONUNBUFFERED."""

WRITE_READ = """
import array, fcntl, os, termios
unread = array.array("i", [0])
def write(fd, text):
    os.write(fd, text)
    while fcntl.ioctl(fd, termios.FIONREAD, unread) == 0 and unread[0]:
        pass  # until it was read: whoever reads in order can tell the order, and no two are read together
"""


@pytest.fixture
def run(folder: Path) -> Iterator[Run]:
    with ExitStack() as stack:
        yield lambda *words, **env: stack.enter_context(Piped(folder, words, env))


def logs(sidecar: Piped) -> list[dict[str, Any]]:
    """Return the log notifications so far."""
    return [params for method, params in notifications(sidecar.lines) if method == "service/log"]


def told(sidecar: Piped) -> list[str]:
    """Return all their lines."""
    return [line for params in logs(sidecar) for line in params["lines"]]


# ── at once ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_python_prints_is_seen_while_it_runs(run: Run) -> None:
    sidecar = run("--", *PYTHON, "import signal\nfor n in range(3): print('line', n)\nsignal.pause()")
    for number in range(3):
        sidecar.wait(f"│ line {number}$")


@pytest.mark.parametrize("chosen", ["", "x"])
def test_whoever_sets_pythonunbuffered_decides(run: Run, chosen: str) -> None:
    code, lines = run("--", "sh", "-c", "echo it is=$PYTHONUNBUFFERED.", PYTHONUNBUFFERED=chosen).rest()
    assert code == 0
    assert f"sh │ it is={chosen}.\n".encode() in lines


def test_a_service_s_own_pythonunbuffered_decides(run: Run, folder: Path) -> None:
    (folder / "src-tauri").mkdir()
    web = {"type": "command", "command": ["sh", "-c", "echo it is=$PYTHONUNBUFFERED."], "env": {"PYTHONUNBUFFERED": ""}}
    configuration = {"plugins": {"sidecar": {"services": {"web": web}}}}
    (folder / "src-tauri" / "tauri.conf.json").write_text(json.dumps(configuration))
    _, lines = run().rest()
    assert "web │ it is=.\n".encode() in lines


# ── unfinished lines ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_question_is_told_as_partial_and_whole_in_the_end(run: Run) -> None:
    sidecar = run("--json", "--", *SERVICE)
    sidecar.wait('"service/ready"')
    url = json.loads(sidecar.lines[-1])["params"]["url"]
    ask(url, "/write/Continue?%20")
    sidecar.wait('"partial"')
    last = logs(sidecar)[-1]
    assert (last["stream"], last["lines"], last["partial"]) == ("stdout", [], "Continue? ")
    ask(url, "/say/yes")
    sidecar.wait("Continue. yes")
    assert told(sidecar)[-1] == "Continue? yes"
    assert "partial" not in logs(sidecar)[-1]


def test_python_s_input_shows_its_question(run: Run) -> None:
    sidecar = run("--", *PYTHON, "input('Continue? ')")
    sidecar.wait(r"│ Continue\? $")
    sidecar.process.send_signal(signal.SIGINT)
    _, lines = sidecar.rest()
    assert sum("│ Continue? ".encode() in line for line in lines) == 1


def test_a_question_ends_in_the_line_it_was_asked_in_on_a_terminal(dev: Dev) -> None:
    terminal = dev("--", *SERVICE)
    url = terminal.wait(READY)[1]
    ask(url, "/write/Continue?%20")
    terminal.wait(r"│ Continue\? ")
    since = terminal.mark()
    ask(url, "/say/yes")
    terminal.wait(r"│ Continue\? yes\r\n", since)


def test_a_line_without_an_end_makes_a_service_ready(run: Run, folder: Path) -> None:
    (folder / "src-tauri").mkdir()
    command = [*PYTHON, "input('Continue? ')"]
    web = {"type": "command", "command": command, "ready": {"type": "log", "pattern": r"Continue\?"}}
    configuration = {"plugins": {"sidecar": {"services": {"web": web}}}}
    (folder / "src-tauri" / "tauri.conf.json").write_text(json.dumps(configuration))
    run().wait("web is ready")


def test_a_progress_bar_is_told_by_frames_and_its_line_is_the_last(run: Run, folder: Path) -> None:
    """Each frame is read separately, so only the sidecar's own rate limit reduces the notifications."""
    gate = make_gate(folder)
    bar = f"{WRITE_READ}\nfor n in range(300): write(1, b'\\r%d/300' % n)\n{AT_GATE}\nprint('\\r300/300')"
    begin = time.monotonic()
    sidecar = run("--json", "--", *PYTHON, bar)
    sidecar.wait('"partial"')
    open_gate(gate)
    sidecar.rest()
    seconds = time.monotonic() - begin
    partials = [params["partial"] for params in logs(sidecar) if "partial" in params]
    assert told(sidecar) == ["300/300"]
    assert 1 <= len(partials) <= seconds * 10
    assert all(re.fullmatch(r"\d+/300", frame) for frame in partials)


@pytest.mark.parametrize("begin", ["process.stdout.write('\\r')", "require('readline').cursorTo(process.stdout, 0)"])
def test_a_progress_bar_of_node_is_one_line_in_a_pipe(run: Run, begin: str) -> None:
    bar = f"let n = 0; const t = setInterval(() => {{ {begin}; process.stdout.write(`${{++n}}%`); if (n === 30) "
    bar += f"{{ {begin}; console.log('done'); clearInterval(t); }} }}, 10);"
    code, lines = run("--", "node", "-e", bar).rest()
    assert code == 0
    assert [line for line in lines if line.startswith(b"node")] == ["node │ done\n".encode()]


# ── order ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_lines_of_both_streams_come_in_the_order_they_were_written(run: Run) -> None:
    alternate = "for number in range(800): write(1 + number % 2, b'%d\\n' % number)"
    sidecar = run("--json", "--", *PYTHON, f"{WRITE_READ}\n{alternate}")
    sidecar.rest()
    assert told(sidecar) == [str(number) for number in range(800)]


# ── colours ───────────────────────────────────────────────────────────────────────────────────────────────────────────

COLOURS = r"""printf '\033[35mlilac\033[0m\033[2J\033]0;title\007 %s\n' "$FORCE_COLOR,$CLICOLOR_FORCE" """


@pytest.mark.parametrize("name", ["FORCE_COLOR", "CLICOLOR_FORCE"])
def test_forced_colours_stay_in_a_pipe_and_nothing_else_does(run: Run, name: str) -> None:
    _, lines = run("--", "sh", "-c", COLOURS, **{name: "1"}).rest()
    said = next(line for line in lines if b"lilac" in line)
    assert b"\x1b[35mlilac\x1b[0m 1,1\x1b[0m\n" in said
    assert not any(b"\x1b[2J" in line or b"title" in line or b"\r" in line for line in lines)


@with_rich
@pytest.mark.parametrize("name", ["FORCE_COLOR", "CLICOLOR_FORCE"])
def test_forced_colours_are_ours_too_in_a_pipe(run: Run, name: str) -> None:
    _, lines = run("--", "echo", "hello", TERM="dumb", **{name: "1"}).rest()
    assert re.search(rb"\x1b\[[\d;]*m", lines[0])


@pytest.mark.parametrize(
    "env",
    [
        {"FORCE_COLOR": "0"},
        {"FORCE_COLOR": "0", "CLICOLOR_FORCE": "1"},
        {"CLICOLOR_FORCE": "0"},
        {"CLICOLOR_FORCE": ""},
        {"NO_COLOR": "1"},
        {"NO_COLOR": "1", "FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"},
    ],
)
def test_without_colours_there_are_none_in_a_pipe(run: Run, env: dict[str, str]) -> None:
    _, lines = run("--", "sh", "-c", COLOURS, **env).rest()
    assert any(b"lilac" in line for line in lines)
    assert not any(b"\x1b" in line for line in lines)


@pytest.mark.parametrize("env", [{"FORCE_COLOR": "0"}, {"NO_COLOR": "1"}])
def test_a_terminal_without_colours_asks_programs_for_none(dev: Dev, env: dict[str, str]) -> None:
    terminal = dev("--", "sh", "-c", "echo colour=$FORCE_COLOR,$CLICOLOR_FORCE.; exec sleep 100", **env)
    terminal.wait(rf"colour={env.get('FORCE_COLOR', '')},\.")
    assert not re.search(rb"\x1b\[[\d;]*m", terminal.raw())
