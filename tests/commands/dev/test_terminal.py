from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

assert sys.platform == "linux"  # for mypy

from sidecar.terminal.tty import keys_in
from tests.commands.dev.support import PYTHON, SERVER, SERVICE, Terminal, ask, command, environment, with_rich
from tests.e2e.support import foreign_server, listens
from tests.support.command import BINARY, from_source
from tests.support.liveness import marked
from tests.support.waiting import make_gate, open_gate, until

Dev = Callable[..., Terminal]

OURS = 4 if BINARY else 3
"""Number of our own processes at the start of the list: bootloader (if frozen), guard, supervisor, keeper."""
GUARD, SUPERVISOR = OURS - 3, OURS - 2


def ready(terminal: Terminal, since: int = 0) -> str:
    """Wait until the service is ready; return its URL."""
    return terminal.wait(r"is ready on (http\S+) after", since)[1]


def status_line(terminal: Terminal, since: int = 0) -> None:
    """Wait for the status line, if there is one."""
    if not BINARY:
        terminal.wait("ready  http", since)


def customized(folder: Path, code: str) -> str:
    """Return a PYTHONPATH with which each Python runs ``code`` first, except with -I."""
    (folder / "sitecustomize.py").write_text(code)
    return f"{folder}{os.pathsep}{environment(folder)['PYTHONPATH']}"


# ── what is shown ─────────────────────────────────────────────────────────────────────────────────────────────────────


@with_rich
def test_it_spins_until_ready_then_says_the_url_and_keeps_a_status_line(dev: Dev, folder: Path) -> None:
    gate = make_gate(folder)
    terminal = dev("--", *SERVICE, "gate")
    for frame in "⠙⠹⠸⠼":
        terminal.wait(rf"{frame} \S+ starting")
    open_gate(gate)
    url = ready(terminal)
    terminal.wait(r"● \S+ ready  " + re.escape(url) + r"  up \d+ s  restarts 0  \d+ MB")


@with_rich
def test_output_is_prefixed_and_its_colours_stay_its_own(dev: Dev) -> None:
    terminal = dev("--", *SERVICE)
    url = ready(terminal)
    ask(url, "/say/%1b[35mlilac%1b[2J")
    terminal.wait(r"│ lilac\r")
    ask(url, "/error/oops")
    terminal.wait(r"┊ oops\r")
    assert b"\x1b[35mlilac\x1b[0m\r\n" in terminal.raw()
    assert re.search(r"\S+ │ lilac\r", terminal.text())


def test_a_program_is_asked_for_colours(dev: Dev) -> None:
    terminal = dev("--", "sh", "-c", "echo colour=$FORCE_COLOR,$CLICOLOR_FORCE none=$NO_COLOR; exec sleep 100")
    terminal.wait(r"colour=1,1 none=\r")


@with_rich
def test_with_no_color_nothing_is_coloured_and_all_the_rest_is_there(dev: Dev) -> None:
    terminal = dev("--", *SERVICE, NO_COLOR="1")
    url = ready(terminal)
    ask(url, "/say/%1b[35mlilac")
    terminal.wait(r"│ lilac\r")
    terminal.wait(r"● \S+ ready")
    assert not re.search(rb"\x1b\[[\d;]*m", terminal.raw())


def test_on_a_dumb_terminal_there_are_no_control_sequences_at_all(dev: Dev) -> None:
    terminal = dev("--", *SERVICE, TERM="dumb")
    ready(terminal)
    terminal.press("?")
    terminal.wait("quit")
    terminal.press("q")
    assert terminal.exit_code() == 0
    assert b"\x1b" not in terminal.raw()


@from_source
def test_without_rich_it_works_in_plain_lines_keys_included(dev: Dev, tmp_path: Path) -> None:
    terminal = dev("--", *SERVICE, PYTHONPATH=customized(tmp_path, "import sys; sys.modules['rich'] = None"))
    url = ready(terminal)
    ask(url, "/say/hello")
    terminal.wait(r"│ hello\r")
    terminal.press("?")
    terminal.wait("quit")
    assert not re.search(r"\S+ ready  http", terminal.text())  # no status line
    assert b"\x1b" not in terminal.raw()
    terminal.press("q")
    assert terminal.exit_code() == 0
    assert terminal.modes() == terminal.modes_before


@with_rich
def test_where_the_locale_has_no_utf_8_only_ascii_is_written(dev: Dev) -> None:
    terminal = dev("--", *SERVICE, LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    url = ready(terminal)
    ask(url, "/say/caf%C3%A9")
    terminal.wait(r"\| caf\?\r")
    terminal.wait(r"\* \S+ ready")
    assert terminal.raw().isascii()


def test_in_a_utf_8_locale_text_comes_as_it_is_and_broken_text_is_marked(dev: Dev) -> None:
    terminal = dev("--", *SERVICE)
    url = ready(terminal)
    ask(url, "/say/caf%C3%A9%FF日本".replace("日本", "%E6%97%A5%E6%9C%AC"))
    terminal.wait("│ café�日本\r")


@with_rich
def test_the_status_line_follows_the_window_s_width(dev: Dev, tmp_path: Path) -> None:
    # no redraws by time, so that a redraw must come from the new size
    no_ticks = "import sidecar.commands.dev.status_line as s; s.TICK_S = s.IDLE_S = 1000.0"
    terminal = dev("--", *SERVICE, columns=30, PYTHONPATH=customized(tmp_path, no_ticks))
    ready(terminal)
    terminal.wait(r"● \S+ ready :\d+  \? hel?p?\r")  # 30 columns are too few for the URL
    mark = terminal.mark()
    terminal.resize(30, 120)
    terminal.wait(r"● \S+ ready  http://\S+  up \d+ s  restarts 0", mark)
    mark = terminal.mark()
    terminal.resize(30, 12)
    found = terminal.wait(r"● ([^\r]*)\r", mark)
    assert found[1] == "python re"


def test_who_has_the_port_is_named_and_another_one_taken(dev: Dev) -> None:
    with foreign_server("127.0.0.1") as (stranger, port):
        terminal = dev("--port", str(port), "--", *SERVICE)
        said = terminal.wait(rf"port {port} is taken by (.*?); using (\d+) instead")
        assert f"pid {stranger.pid}" in said[1].replace("\r\n", "")
        assert ready(terminal) == f"http://127.0.0.1:{said[2]}/"


@with_rich
def test_crash_is_told_with_reason_and_delay_and_then_restarted(dev: Dev) -> None:
    terminal = dev("--", *SERVICE)
    url = ready(terminal)
    mark = terminal.mark()
    ask(url, "/exit/7")
    terminal.wait(r"failed: it ended with exit code 7\.\r", mark)
    terminal.wait(r"restarting in \d+ ms \(attempt 1\)", mark)
    assert ready(terminal, mark) == url
    terminal.wait("restarts 1", mark)


def test_a_program_without_a_place_for_a_port_is_running_not_ready(dev: Dev) -> None:
    terminal = dev("--", *PYTHON, str(SERVER), "0")
    terminal.wait(r"is running")
    terminal.wait("no port, but here")
    terminal.press("o")
    terminal.wait("there is no page to open")


@with_rich
def test_a_program_that_listens_without_being_told_a_port_is_said_to(dev: Dev) -> None:
    """As with ``sidecar dev -- npm run dev``, its URL is shown, and stays in the status line."""
    listen = "import http.server as h; h.HTTPServer(('127.0.0.1', 0), h.SimpleHTTPRequestHandler).serve_forever()"
    terminal = dev("--", *PYTHON, "-c", listen)
    terminal.wait(r"listens on .*http://127\.0\.0\.1:\d+/")
    terminal.wait(r"running.*http://127\.0\.0\.1:\d+/.*up \d")


# ── keys ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@with_rich
def test_r_restarts_on_the_same_port(dev: Dev) -> None:
    terminal = dev("--", *SERVICE)
    url = ready(terminal)
    before = terminal.watch().pids[-1]
    mark = terminal.mark()
    terminal.press("r")
    terminal.wait("restarting python", mark)
    assert ready(terminal, mark) == url
    assert terminal.watch().pids[-1] != before
    terminal.wait("restarts 1", mark)
    assert "Ctrl-C" not in terminal.text(mark)  # this text reports an end


@with_rich
def test_l_clears_the_screen(dev: Dev) -> None:
    terminal = dev("--", *SERVICE)
    ready(terminal)
    mark = terminal.mark()
    terminal.press("l")
    terminal.wait(r"ready  http", mark)
    until(lambda: b"\x1b[2J" in terminal.raw(mark), "the screen's clearing")


@pytest.mark.parametrize("key", ["?", "h"])
def test_the_help_says_what_the_keys_do(dev: Dev, key: str) -> None:
    terminal = dev("--", *SERVICE)
    ready(terminal)
    mark = terminal.mark()
    terminal.press(key)
    for what in ("r  restart", "o  open in the browser", "l  clear", "q  quit", r"\?  help"):
        terminal.wait(what, mark)


def test_enter_parts_the_output(dev: Dev) -> None:
    terminal = dev("--", *SERVICE)
    ready(terminal)
    mark = terminal.mark()
    terminal.press("\r")
    terminal.wait(r"\A[^\n]*\r\r?\n", mark)


def test_arrows_and_other_keys_do_nothing(dev: Dev) -> None:
    terminal = dev("--", *SERVICE)
    ready(terminal)
    mark = terminal.mark()
    terminal.press("\x1b[Ax?")
    terminal.wait("help", mark)
    assert "restarting" not in terminal.text(mark)
    assert "stopping" not in terminal.text(mark)


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q", "q"),
        (b"r?", "r?"),
        (b"\x1b[A", ""),
        (b"\x1b[1;5Cq", "q"),
        (b"\x1bOPq", "q"),
        (b"\x1bq", ""),
        (b"\x1b", ""),
        ("é".encode(), ""),
        (b"qrqrqrqrqrqr", ""),
    ],
)
def test_a_key_is_a_letter_and_neither_a_sequence_nor_a_paste(data: bytes, keys: str) -> None:
    assert keys_in(data) == keys


# ── the end ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("key", ["q", "\x04"])
def test_q_ends_all_of_it_with_exit_code_0(dev: Dev, key: str) -> None:
    terminal = dev("--", *SERVICE, "child")
    url = ready(terminal)
    tree = terminal.watch()
    assert len(tree.pids) == OURS + 2  # the service, its child
    assert not terminal.echoes()
    terminal.press(key)
    assert terminal.exit_code() == 0
    tree.await_gone()
    assert not listens(int(url.rpartition(":")[2].rstrip("/")))
    assert terminal.modes() == terminal.modes_before


def test_ctrl_c_ends_it_cleanly_with_130(dev: Dev) -> None:
    terminal = dev("--", *SERVICE, "child")
    ready(terminal)
    tree = terminal.watch()
    terminal.press("\x03")
    assert terminal.exit_code() == 130
    tree.await_gone()
    terminal.wait("stopping python")
    assert terminal.modes() == terminal.modes_before
    assert "Traceback" not in terminal.text()


def configure_patient(folder: Path, wish: str) -> None:
    """Make a Tauri project whose only service may take a day to end."""
    stop = {"timeoutMs": 86_400_000}
    web = {"type": "command", "command": [*SERVICE, wish], "cwd": str(folder), "port": {}, "stop": stop}
    (folder / "src-tauri").mkdir()
    configuration = {"plugins": {"sidecar": {"services": {"web": web}}}}
    (folder / "src-tauri" / "tauri.conf.json").write_text(json.dumps(configuration))


def test_one_ctrl_c_lets_a_slow_one_end_in_its_own_time(dev: Dev, folder: Path) -> None:
    """Each of our processes gets it, and a frozen sidecar's bootloader also forwards it. It still counts once."""
    gate = make_gate(folder)
    configure_patient(folder, "slow")
    terminal = dev()
    ready(terminal)
    tree = terminal.watch()
    terminal.press("\x03")
    terminal.wait("│ asked to end")
    open_gate(gate)
    assert terminal.exit_code() == 130
    tree.await_gone()
    terminal.wait("│ in its own time")


def test_a_second_ctrl_c_does_not_wait_for_one_who_is_deaf_to_the_first(dev: Dev, folder: Path) -> None:
    configure_patient(folder, "deaf")
    terminal = dev()
    ready(terminal)
    tree = terminal.watch()
    terminal.press("\x03")
    terminal.wait("stopping web.*; Ctrl-C ends it at once")
    assert terminal.process.poll() is None
    terminal.press("\x03")
    assert terminal.exit_code() == 130
    tree.await_gone()
    assert "stopped" not in terminal.text()  # it was killed, and nothing reported its end


def test_ctrl_c_before_it_is_ready_ends_it_too(dev: Dev) -> None:
    terminal = dev("--", *PYTHON, "-c", "import signal; print('here', flush=True); signal.pause() # {port}")
    terminal.wait("│ here")
    tree = terminal.watch()
    terminal.press("\x03")
    assert terminal.exit_code() == 130
    tree.await_gone()


def test_q_twice_is_at_once(dev: Dev) -> None:
    terminal = dev("--", *SERVICE, "deaf")
    ready(terminal)
    tree = terminal.watch()
    terminal.press("q")
    terminal.wait("stopping python")
    terminal.press("q")
    assert terminal.exit_code() == 0
    tree.await_gone()


def test_ctrl_backslash_is_at_once_and_leaves_nobody(dev: Dev) -> None:
    terminal = dev("--", *SERVICE, "deaf", "session")
    ready(terminal)
    tree = terminal.watch()
    terminal.press("\x1c")
    assert terminal.exit_code() == 131
    tree.await_gone()
    assert terminal.modes() == terminal.modes_before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_to_it_ends_it_with_that_signal_s_code(dev: Dev, number: int, code: int) -> None:
    terminal = dev("--", *SERVICE)
    ready(terminal)
    tree = terminal.watch()
    tree.kill(tree.pids[0], number)
    assert terminal.exit_code() == code
    tree.await_gone()
    assert terminal.modes() == terminal.modes_before


def test_when_the_terminal_goes_away_all_of_it_ends(dev: Dev) -> None:
    terminal = dev("--", *SERVICE, "child")
    ready(terminal)
    tree = terminal.watch()
    terminal.hang_up()
    assert terminal.exit_code() == 129
    tree.await_gone()


def test_a_terminal_that_goes_away_without_a_signal_ends_it_too(folder: Path, sidecar: Sequence[str]) -> None:
    with Terminal(command("--", *SERVICE, sidecar=sidecar), folder, environment(folder), controlling=False) as terminal:
        ready(terminal)
        tree = terminal.watch()
        terminal.hang_up()
        terminal.exit_code()
        tree.await_gone()


def test_when_the_supervisor_is_killed_the_guard_gives_the_terminal_back(dev: Dev) -> None:
    terminal = dev("--", *SERVICE, "session")
    ready(terminal)
    tree = terminal.watch()
    assert terminal.modes() != terminal.modes_before
    tree.kill(tree.pids[SUPERVISOR], signal.SIGKILL)
    assert terminal.exit_code() == 137
    tree.await_gone()
    assert terminal.modes() == terminal.modes_before


def test_when_the_guard_is_killed_the_supervisor_ends_it(dev: Dev) -> None:
    terminal = dev("--", *SERVICE, "session")
    ready(terminal)
    tree = terminal.watch()
    tree.kill(tree.pids[GUARD], signal.SIGKILL)
    assert terminal.exit_code() == -signal.SIGKILL
    tree.await_gone()


def test_a_failure_stands_below_the_services_last_lines_which_are_said_once(dev: Dev) -> None:
    script = "import os; print('the last words', flush=True); import nowhere # {port}"
    terminal = dev("--", *PYTHON, "-c", script)
    assert terminal.exit_code() == 1
    text = terminal.text()
    assert "failed: it ended with exit code 1 before it was ready" in text
    assert text.count("the last words\r\n") == 1
    assert text.count("No module named 'nowhere'") == 1
    assert "Its last lines" not in text
    assert "data.lines" not in text
    assert terminal.modes() == terminal.modes_before


def test_a_folder_without_vite_is_told_with_what_to_do(dev: Dev, folder: Path) -> None:
    (folder / "package.json").write_text('{"devDependencies": {"vite": "*"}}')
    terminal = dev()
    assert terminal.exit_code() == 1
    text = terminal.text().replace("\r\n", "\n")
    assert f"no vite in {folder}/node_modules or above. Run 'npm install'" in text
    assert terminal.modes() == terminal.modes_before


def test_a_program_that_is_not_there_is_told(dev: Dev) -> None:
    terminal = dev("--", "no-such-program")
    assert terminal.exit_code() == 1
    terminal.wait("there is no program 'no-such-program' to run")


def test_a_program_that_ends_well_ends_it_with_0(dev: Dev) -> None:
    terminal = dev("--", *PYTHON, "-c", "print('done')")
    assert terminal.exit_code() == 0
    terminal.wait("done")
    terminal.wait("has ended with exit code 0")


def test_nobody_is_left_who_was_started_for_the_view_either(dev: Dev) -> None:
    mark = f"test-{os.urandom(8).hex()}"
    terminal = dev("--", *SERVICE, MARK=mark)
    ready(terminal)
    assert len(marked(mark)) == OURS + 2  # the service, and the opener, which is not a descendant of ours
    terminal.press("q")
    assert terminal.exit_code() == 0
    until(lambda: not marked(mark), "the opener's end")


def test_a_program_gets_the_signals_as_they_were(dev: Dev) -> None:
    script = "import signal as s; print([s.getsignal(n).name for n in (s.SIGTSTP, s.SIGQUIT, s.SIGTTOU, s.SIGHUP)])"
    terminal = dev("--", *PYTHON, "-c", script)
    terminal.wait(r"│ \['SIG_DFL', 'SIG_DFL', 'SIG_DFL', 'SIG_DFL'\]")


# ── under load, and beside a shell ────────────────────────────────────────────────────────────────────────────────────


def test_a_flood_of_output_blocks_neither_keys_nor_the_end(dev: Dev) -> None:
    terminal = dev("--", *SERVICE)
    url = ready(terminal)
    ask(url, "/flood")
    terminal.wait("flood red")
    mark = terminal.mark()
    terminal.press("?")
    terminal.wait("open in the browser", mark)
    tree = terminal.watch()
    terminal.press("\x03")
    assert terminal.exit_code() == 130
    tree.await_gone()
    assert terminal.modes() == terminal.modes_before


def test_a_terminal_that_takes_nothing_more_blocks_no_end(dev: Dev) -> None:
    terminal = dev("--", *SERVICE)
    url = ready(terminal)
    ask(url, "/flood")
    terminal.wait("flood red")
    terminal.freeze()
    tree = terminal.watch()
    tree.kill(tree.pids[0], signal.SIGTERM)
    assert terminal.exit_code() == 143
    tree.await_gone()
    assert terminal.modes() == terminal.modes_before


def shell_environment(folder: Path) -> dict[str, str]:
    """Return an environment with a prompt that no input contains, and without the user's own files."""
    prompt = {"PS1": "$SHELL_IS_READY> ", "SHELL_IS_READY": "ok", "HISTFILE": "", "ENV": ""}
    return environment(folder, BROWSER="/bin/true", **prompt)


@pytest.mark.parametrize(
    ("shell", "wrapper"),
    [("bash", "{}"), ("dash", "{}"), ("bash", "sh -c '{}; exit $?'")],
    ids=["bash", "dash", "below another program, as npm run does"],
)
def test_ctrl_z_gives_the_terminal_to_the_shell_and_fg_takes_it_again(
    folder: Path, shell: str, wrapper: str, sidecar: Sequence[str]
) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell}")
    options = ["--norc", "--noprofile", "-i"] if shell == "bash" else ["-i"]
    with Terminal([program, *options], folder, shell_environment(folder)) as terminal:
        terminal.wait("ok> ")
        terminal.press(wrapper.format(" ".join(command("--", *SERVICE, sidecar=sidecar))) + "\r")
        ready(terminal)
        until(lambda: not terminal.echoes(), "the modes being ours")
        terminal.watch()
        ours = terminal.foreground()
        mark = terminal.mark()
        terminal.press("\x1a")
        terminal.wait("Stopped", mark)
        terminal.wait("ok> ", mark)
        if shell == "dash":  # bash's line editor echoes by itself
            until(terminal.echoes, "the modes being the shell's")
        mark = terminal.mark()
        terminal.press("echo shell-is-$((20 + 3))\r")
        terminal.wait("shell-is-23", mark)
        mark = terminal.mark()
        terminal.press("fg\r")
        until(lambda: terminal.foreground() == ours, "the terminal being ours again")
        status_line(terminal, mark)
        until(lambda: not terminal.echoes(), "the modes being ours again")
        mark = terminal.mark()
        terminal.press("?")
        terminal.wait("open in the browser", mark)
        terminal.press("q")
        terminal.wait("ok> ", mark)
        mark = terminal.mark()
        terminal.press("echo code-$?-end\r")
        terminal.wait("code-0-end", mark)
        terminal.press("exit\r")
        assert terminal.exit_code() == 0


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_fg_is_typed_at_once_after_each_of_many_ctrl_z(folder: Path, shell: str, sidecar: Sequence[str]) -> None:
    """A late stop of ours must not undo it, and we must not read what is typed."""
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"there is no {shell}")
    options = ["--norc", "--noprofile", "-i"] if shell == "bash" else ["-i"]
    with Terminal([program, *options], folder, shell_environment(folder)) as terminal:
        terminal.wait("ok> ")
        terminal.press(" ".join(command("--", *SERVICE, sidecar=sidecar)) + "\r")
        ready(terminal)
        tree = terminal.watch()
        ours = terminal.foreground()
        leader = psutil.Process(ours)
        for _ in range(10):
            until(lambda: not terminal.echoes(), "the modes being ours")
            mark = terminal.mark()
            terminal.press("\x1a")
            terminal.wait("Stopped", mark)
            terminal.press("fg\r")
            until(lambda: terminal.foreground() == ours, "the terminal being ours again")
            # fg's SIGCONT comes after that, and would discard a Ctrl-Z
            until(lambda: leader.status() != psutil.STATUS_STOPPED, "the job's going on")
        until(lambda: not terminal.echoes(), "the modes being ours at last")
        mark = terminal.mark()
        terminal.press("q")
        terminal.wait("ok> ", mark)
        terminal.press("exit\r")
        assert terminal.exit_code() == 0
        tree.await_gone()


def test_in_the_background_it_leaves_the_terminal_to_the_shell(folder: Path, sidecar: Sequence[str]) -> None:
    with Terminal(["/bin/sh", "-i"], folder, shell_environment(folder)) as terminal:
        terminal.wait("ok> ")
        terminal.press(" ".join(f"'{word}'" for word in command("--", *SERVICE, sidecar=sidecar)) + " &\r")
        ready(terminal)
        terminal.watch()
        assert terminal.echoes()
        assert not re.search(r"ready  http", terminal.text())
        mark = terminal.mark()
        terminal.press("echo shell-is-$((20 + 3))\r")
        terminal.wait("shell-is-23", mark)
        terminal.press("fg\r")
        status_line(terminal, mark)
        until(lambda: not terminal.echoes(), "the modes being ours")
        mark = terminal.mark()
        terminal.press("\x03")
        terminal.wait("ok> ", mark)
        assert terminal.echoes()
        mark = terminal.mark()
        terminal.press("echo code-$?-end\r")
        terminal.wait("code-130-end", mark)
        terminal.press("exit\r")
        terminal.exit_code()


@pytest.mark.parametrize("victim", range(SUPERVISOR), ids=["bootloader", "guard"][-SUPERVISOR:])
def test_terminal_modes_are_restored_when_the_guard_is_killed(
    folder: Path, sidecar: Sequence[str], victim: int
) -> None:
    """This shell does not set the modes itself."""
    with Terminal(["/bin/sh", "-i"], folder, shell_environment(folder)) as terminal:
        terminal.wait("ok> ")
        terminal.press(" ".join(command("--", *SERVICE, sidecar=sidecar)) + "\r")
        ready(terminal)
        until(lambda: not terminal.echoes(), "the modes being ours")
        tree = terminal.watch()
        mark = terminal.mark()
        tree.kill(tree.pids[1 + victim], signal.SIGKILL)  # the first is the shell
        terminal.wait("ok> ", mark)
        until(terminal.echoes, "the modes being the shell's")
        assert terminal.modes() == terminal.modes_before
        terminal.press("exit\r")
        terminal.exit_code()
        tree.await_gone()


def test_ctrl_z_where_no_shell_could_continue_it_does_not_stop_it(dev: Dev) -> None:
    terminal = dev("--", *SERVICE)
    ready(terminal)
    mark = terminal.mark()
    terminal.press("\x1a")
    status_line(terminal, mark)
    terminal.press("q")
    assert terminal.exit_code() == 0
