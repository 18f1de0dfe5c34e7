"""The login shell is asked for its PATH: with a time limit, without a terminal, and once a day."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

if sys.platform == "win32":
    pytest.skip("Windows has no login shell", allow_module_level=True)

from sidecar.services import login_shell
from sidecar.services.login_shell import KEPT_S, Answer, search_path
from tests.e2e.support import alive
from tests.services.support import Machine, machine
from tests.support.waiting import until

__all__ = ["machine"]

TOOLS = "/usr/bin:/bin"


def counting(machine: Machine, path: str = TOOLS) -> Path:
    """Make a shell that prints ``path``, and logs a line at each call."""
    runs = machine.home / "runs"
    machine.shell(f'echo asked >> {runs}\nexport PATH="{path}"\neval "$2"')
    return runs


def asked(runs: Path) -> int:
    return len(runs.read_text().splitlines())


def test_its_path_is_found_between_what_else_it_prints(machine: Machine) -> None:
    machine.shell(
        f'echo "Welcome! tauri-sidecar-end"; echo noise >&2; PATH="/a b:{TOOLS}"; export PATH; eval "$2"; echo bye'
    )
    assert search_path() == Answer(f"/a b:{TOOLS}")


def test_it_is_an_interactive_login_shell_in_the_home_folder(machine: Machine) -> None:
    told = machine.home / "told"
    machine.shell(f'{{ echo "$1"; pwd; }} > {told}; PATH={TOOLS}; eval "$2"')
    assert search_path() == Answer(TOOLS)
    assert told.read_text().splitlines() == ["-ilc", str(machine.home)]


def test_it_reads_nothing_of_our_stdin(machine: Machine) -> None:
    """Our stdin has the app's requests, which the shell must not read."""
    told = machine.home / "told"
    machine.shell(f'read line; echo "<$line>" > {told}; PATH={TOOLS}; eval "$2"')
    ours = os.dup(0)
    reader, writer = os.pipe()
    os.write(writer, b"a request\n")
    try:
        os.dup2(reader, 0)
        assert search_path() == Answer(TOOLS)
    finally:
        os.dup2(ours, 0)
        for fd in (ours, reader, writer):
            os.close(fd)
    assert told.read_text() == "<>\n"


@pytest.mark.parametrize("shell", ["sh", "bash", "dash", "zsh", "fish", "ksh"])
def test_a_real_shell_says_the_path_that_its_own_files_set(machine: Machine, shell: str) -> None:
    program = next((at for at in (f"/bin/{shell}", f"/usr/bin/{shell}") if os.access(at, os.X_OK)), None)
    if program is None:
        pytest.skip(f"there is no {shell} here")
    machine.variable("PATH", TOOLS)
    machine.variable("SHELL", program)
    for file in (".profile", ".bash_profile", ".zprofile"):
        (machine.home / file).write_text('PATH="$HOME/mine:$PATH"\n')
    (machine.home / ".config/fish").mkdir(parents=True)
    (machine.home / ".config/fish/config.fish").write_text('set -x PATH "$HOME/mine" $PATH\n')
    assert str(machine.home / "mine") in search_path().path.split(":")


def test_its_answer_is_kept(machine: Machine) -> None:
    runs = counting(machine)
    assert [search_path(), search_path()] == [Answer(TOOLS)] * 2
    assert asked(runs) == 1


def test_it_is_asked_again_after_a_day(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = counting(machine)
    search_path()
    now = time.time() + KEPT_S
    monkeypatch.setattr(time, "time", lambda: now)
    search_path()
    assert asked(runs) == 2


@pytest.mark.parametrize("file", [".zshrc", ".bash_profile", ".config/fish/config.fish"])
def test_it_is_asked_again_when_one_of_its_files_changes(machine: Machine, file: str) -> None:
    runs = counting(machine)
    search_path()
    (machine.home / file).parent.mkdir(parents=True, exist_ok=True)
    (machine.home / file).write_text("")
    search_path()
    assert asked(runs) == 2


def test_another_shell_is_asked_anew(machine: Machine) -> None:
    counting(machine)
    search_path()
    other = machine.home / "other"
    other.write_text(f'#!/bin/sh\nPATH=/other:{TOOLS}; eval "$2"')
    other.chmod(0o755)
    machine.variable("SHELL", other)
    assert search_path() == Answer(f"/other:{TOOLS}")


def test_a_kept_answer_that_is_broken_is_asked_for_anew(machine: Machine) -> None:
    runs = counting(machine)
    search_path()
    (machine.state / login_shell.FILE).write_text('{"path": 7')
    assert search_path() == Answer(TOOLS)
    assert asked(runs) == 2


def test_without_a_state_folder_it_answers_all_the_same(machine: Machine) -> None:
    machine.state.write_text("")
    counting(machine)
    assert search_path() == Answer(TOOLS)


def test_a_shell_that_hangs_is_ended_with_all_that_it_started(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a process that has left the shell's session."""
    leave = "import os; os.setsid(); os.execvp('sleep', ['sleep', '1000'])"
    machine.shell(f'PATH={TOOLS}\nsleep 1000 & echo $!\n{sys.executable} -c "{leave}" & echo $!\necho $$\nwait\n')
    started: list[psutil.Process] = []

    def over(process: subprocess.Popen[bytes], deadline: float) -> None:
        assert process.stdout is not None
        started.extend(psutil.Process(int(process.stdout.readline())) for _ in range(3))
        until(lambda: os.getsid(started[1].pid) == started[1].pid, "a session of its own")

    monkeypatch.setattr(login_shell, "_read_answer", over)
    assert search_path() == Answer(problem="the login shell shell did not say its PATH within 5 s")
    until(lambda: not alive(started), "their end")


def test_a_shell_that_did_not_answer_is_not_waited_for_again_at_once(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_shell, "SHELL_S", 0.1)
    asked: list[str] = []
    ask = login_shell._ask

    def count(shell: str) -> Answer:
        asked.append(shell)
        return ask(shell)

    monkeypatch.setattr(login_shell, "_ask", count)
    machine.shell("exec /bin/sleep 1000")
    silent = Answer(problem="the login shell shell did not say its PATH within 0.1 s")
    assert [search_path(), search_path()] == [silent] * 2
    assert len(asked) == 1


def test_what_a_shell_leaves_running_is_not_waited_for(machine: Machine) -> None:
    """It holds the pipe, so waiting for EOF would last until the time limit."""
    pid = machine.home / "pid"
    machine.shell(f'PATH={TOOLS}; sleep 1000 & echo $! > {pid}; eval "$2"')
    try:
        assert search_path() == Answer(TOOLS)
    finally:
        psutil.Process(int(pid.read_text())).kill()


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("exit 3", "the login shell shell does not say its PATH"),
        ("echo hello", "the login shell shell does not say its PATH"),
        ('PATH=; eval "$2"', "the login shell shell does not say its PATH"),
    ],
)
def test_a_shell_that_says_nothing_of_use_is_told(machine: Machine, script: str, problem: str) -> None:
    machine.shell(script)
    assert search_path() == Answer(problem=problem)


def test_a_shell_that_cannot_be_run_is_told(machine: Machine) -> None:
    machine.variable("SHELL", "/nowhere/zsh")
    assert search_path() == Answer(problem="the login shell /nowhere/zsh cannot be run (No such file or directory)")
