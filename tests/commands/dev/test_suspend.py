"""Stop together with another program after Ctrl-Z, in every order of fg and our own stop."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

if sys.platform != "linux":
    pytest.skip("job control as Linux does it", allow_module_level=True)

from tests.e2e.support import descendants
from tests.faults.cell import ROOT
from tests.host.bsd import skip_without_forks
from tests.support.liveness import state_of
from tests.support.waiting import WAIT_S, until

SCRIPT = """
import os, signal, sys
from sidecar.terminal import tty

def early(pid):
    os.kill(os.getpid(), signal.SIGCONT)  # fg comes after the check, and before we stop
    return True

if sys.argv[4] == "darwin":
    from tests.host import bsd
    tty.look_at = bsd.Kernel().read

signal.signal(signal.SIGTSTP, lambda *_: print("a handler of ours", flush=True))
if sys.argv[2] == "overtaken":
    tty._comes_to_a_stop = early
tty.FOLLOW_S = float(sys.argv[3])
tty._stop_like(int(sys.argv[1]))
print("goes on", flush=True)
os.kill(os.getpid(), signal.SIGTSTP)
"""


BOOTLOADER = """
import os, signal, sys
from sidecar.terminal import tty

sys._MEIPASS = "/tmp/_MEI0000000100aaaa"  # means that the parent is a bootloader
if sys.argv[2] == "darwin":
    from tests.host import bsd
    tty.look_at = bsd.Kernel().read

bootloader = os.getpid()
if os.fork():
    os.wait()
    os._exit(0)
signal.signal(signal.SIGTSTP, signal.SIG_IGN)
if os.fork():
    os.wait()
    os._exit(0)

find = tty._child_of_shell

def look_and_be_continued():
    found = find()
    assert found.pid == bootloader, found
    os.kill(bootloader, signal.SIGTSTP)
    print("stopped", flush=True)
    sys.stdin.readline()  # the shell has seen it, and fg has continued all of us
    return found

def look():
    os.kill(bootloader, signal.SIGTSTP)
    return find()

signal.signal(signal.SIGTSTP, lambda *_: print("a handler of ours", flush=True))
tty._child_of_shell = look_and_be_continued if sys.argv[1] == "overtaken" else look
tty.FOLLOW_S = float(sys.argv[3])
tty.stop_job()
print("goes on", flush=True)
sys.stdin.readline()
"""


@contextmanager
def other_program(*, stopped: bool) -> Iterator[int]:
    """Start the program that the shell watches."""
    with subprocess.Popen(["sleep", "100"]) as child:
        try:
            if stopped:
                child.send_signal(signal.SIGSTOP)
                until(lambda: state_of(child.pid) == "T", "the stop")
            yield child.pid
        finally:
            child.kill()


@contextmanager
def one_of_ours(
    pid: int, system: str, how: str = "as it is", follow_s: float = WAIT_S
) -> Iterator[subprocess.Popen[str]]:
    """Start ours in its own group, as the child of a shell (this test)."""
    command = [sys.executable, "-c", SCRIPT, str(pid), how, str(follow_s), system]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, process_group=0) as it:
        try:
            yield it
        finally:
            it.kill()


def said(it: subprocess.Popen[str]) -> list[str]:
    """Return all its output up to its end."""
    return it.communicate(timeout=WAIT_S)[0].splitlines()


@pytest.fixture(params=["linux", "darwin"])
def system(request: pytest.FixtureRequest) -> str:
    """The system whose process information shows that the other program is stopped."""
    if request.param == "darwin":
        skip_without_forks()
    return str(request.param)


THE_END = ["goes on", "a handler of ours"]
"""Afterwards Ctrl-Z is handled as before."""


def test_it_stops_with_a_program_that_is_stopped_and_goes_on_when_continued(system: str) -> None:
    with other_program(stopped=True) as pid, one_of_ours(pid, system) as it:
        stopped = os.waitid(os.P_PID, it.pid, os.WSTOPPED)
        assert stopped is not None
        assert stopped.si_status == signal.SIGTSTP
        it.send_signal(signal.SIGCONT)
        assert said(it) == THE_END


def test_it_stops_also_if_the_other_one_stops_a_little_later(system: str) -> None:
    with other_program(stopped=False) as pid, one_of_ours(pid, system) as it:
        until(lambda: signal.SIGTSTP in pending(it.pid), "the stop that is kept ready")
        os.kill(pid, signal.SIGSTOP)  # our own child, which is not reaped yet
        assert os.waitid(os.P_PID, it.pid, os.WSTOPPED)
        it.send_signal(signal.SIGCONT)
        assert said(it) == THE_END


def test_a_continue_that_comes_between_the_look_and_the_stop_wins(system: str) -> None:
    with other_program(stopped=True) as pid, one_of_ours(pid, system, "overtaken") as it:
        assert said(it) == THE_END


def test_a_continue_that_comes_while_it_waits_wins(system: str) -> None:
    with other_program(stopped=False) as pid, one_of_ours(pid, system) as it:
        until(lambda: signal.SIGTSTP in pending(it.pid), "the stop that is kept ready")
        it.send_signal(signal.SIGCONT)
        assert said(it) == THE_END


def test_it_does_not_stop_alone(system: str) -> None:
    with other_program(stopped=False) as pid, one_of_ours(pid, system, follow_s=0.05) as it:
        assert said(it) == THE_END


@contextmanager
def bootloader(system: str, how: str, follow_s: float = WAIT_S) -> Iterator[subprocess.Popen[str]]:
    """Start a bootloader as the shell's child. Below it are a guard and a supervisor, which handles Ctrl-Z."""
    command = [sys.executable, "-c", BOOTLOADER, how, system, str(follow_s)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
    ) as it:
        try:
            yield it
        finally:
            os.killpg(it.pid, signal.SIGKILL)  # not reaped yet, so the group's number is not reused


def test_a_supervisor_stops_with_its_bootloader_and_goes_on_with_it(system: str) -> None:
    with bootloader(system, "as it is") as it:
        assert it.stdout is not None
        await_stop(it.pid)
        supervisor = descendants(it.pid)[-1].pid
        until(lambda: state_of(supervisor) == "T", "the supervisor's stop")
        os.killpg(it.pid, signal.SIGCONT)
        assert it.stdout.readline() == "goes on\n"


def test_fg_wins_over_a_supervisor_that_stops_after_its_bootloader(system: str) -> None:
    """Ctrl-Z stops the bootloader at once, and fg may continue it before the supervisor gets to its own stop.

    If that stop goes to the whole group, it takes the job out of the foreground again.
    """
    with bootloader(system, "overtaken", follow_s=0.05) as it:
        assert it.stdin is not None
        assert it.stdout is not None
        output = it.stdout
        assert output.readline() == "stopped\n"
        await_stop(it.pid)
        os.killpg(it.pid, signal.SIGCONT)
        it.stdin.write("\n")
        it.stdin.flush()
        until(lambda: select.select([output], [], [], 0)[0] or has_stopped(it.pid), "the supervisor's going on")
        assert not has_stopped(it.pid)
        assert output.readline() == "goes on\n"


def await_stop(pid: int) -> None:
    """Wait, as a shell does, until our child stops."""
    stopped = os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED)
    assert stopped is not None
    assert stopped.si_code == os.CLD_STOPPED


def has_stopped(pid: int) -> bool:
    """Return whether our child has stopped since the last wait."""
    return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None


def pending(pid: int) -> set[int]:
    """Return the signals that are pending for the process's main thread (proc(5): SigPnd)."""
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        mask = next(int(line.split()[1], 16) for line in file if line.startswith("SigPnd:"))
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}
