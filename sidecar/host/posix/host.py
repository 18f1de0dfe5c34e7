"""What every POSIX host does in the same way: start a program in its own session, ask it to end, reap it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping

assert sys.platform != "win32"  # for mypy: sessions and groups

from msgspec import Struct

from sidecar.core.events import Launch
from sidecar.errors import ProcessSpawnFailedError
from sidecar.host.base import Child, Ended
from sidecar.host.posix.guard import forwarded
from sidecar.host.shared import child_environment
from sidecar.threads import start_thread

WAKES = 512
"""How many signals at most become one event for the loop."""


def watch_signals(seen: Callable[[int], None], child_died: Callable[[], None]) -> None:
    """``Session.watch_signals``. Raises ``SystemFailureError`` if there is no thread to spare.

    Python runs a signal handler only on the main thread. If the kernel gives the signal to another thread, or just
    before the main thread begins to wait, that wait does not end. The loop would see a death only with the next event,
    which may never come. So a thread reads the wake-up descriptor, and each signal puts an event into the loop's queue.
    """
    for number in forwarded():
        signal.signal(number, lambda number, _frame: seen(number))
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def wake() -> None:
        while os.read(reader, WAKES):
            child_died()

    start_thread("signals", wake)


class Program(Struct):
    """A service's program. ``status`` is its wait status once it is dead, ``asked`` the signal that asked it to end."""

    popen: subprocess.Popen[bytes]
    stdin: int
    """Our end of its stdin. We never write to it, and it closes when we die."""
    status: int | None = None
    asked: signal.Signals | None = None
    left: tuple[int, ...] = ()
    """Pids of the processes that survived a kill. We no longer wait for them."""


def start(
    service: str, launch: Launch, marks: Mapping[str, str], before_exec: Callable[[], None] | None = None
) -> tuple[Program, Child]:
    """Start it as the leader of a new session, with ``marks`` in its environment.

    Raises ``ProcessSpawnFailedError``.
    """
    ours: list[int] = []
    theirs: list[int] = []
    try:
        # our own pipes: Popen would close its pipes while a thread still reads them
        for readable in (False, True, True):
            reader, writer = os.pipe()
            ours.append(reader if readable else writer)
            theirs.append(writer if readable else reader)
        popen = subprocess.Popen(
            launch.argv,
            cwd=launch.cwd,
            env=child_environment(launch.env, marks),
            stdin=theirs[0],
            stdout=theirs[1],
            stderr=theirs[2],
            start_new_session=True,
            preexec_fn=before_exec,  # noqa: PLW1509  Linux's makes a few system calls, and takes no lock of ours
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        for fd in ours:
            os.close(fd)
        raise not_started(service, launch, error) from None
    finally:
        for fd in theirs:
            os.close(fd)
    return Program(popen, ours[0]), Child(popen.pid, ours[1], ours[2])


def not_started(service: str, launch: Launch, error: Exception) -> ProcessSpawnFailedError:
    """Make the error for a program that could not be started because of ``error``."""
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return ProcessSpawnFailedError(
        f"{launch.argv[0]} could not be started in {launch.cwd}: {reason}. "
        "Check the program, its permissions and the limits of this user.",
        service=service,
        program=launch.argv[0],
    )


def ask(program: Program, number: signal.Signals) -> None:
    """Signal the program and its process group. SIGCONT follows: a stopped program could not see the signal."""
    program.asked = number
    if program.status is None:
        # the program is not reaped yet, so its pid, and the group of that number, are still its own
        try:
            os.killpg(program.popen.pid, number)
            os.killpg(program.popen.pid, signal.SIGCONT)
        except (ProcessLookupError, PermissionError):
            pass  # all of the group are zombies, or have become another user's


def collect(program: Program) -> bool:
    """Reap the program if it is dead. Return whether this call reaped it."""
    if program.status is not None:
        return False
    pid, status = os.waitpid(program.popen.pid, os.WNOHANG)
    if pid == 0:
        return False
    program.status = status
    program.popen.returncode = os.waitstatus_to_exitcode(status)  # Popen must not wait for it again
    return True


def let_go(program: Program) -> None:
    """Abandon the program: its next parent reaps it when we exit."""
    program.popen.returncode = -signal.SIGKILL  # Popen must not wait for it
    os.close(program.stdin)


def ended(service: str, program: Program) -> Ended:
    """Make the report of a tree that is gone, except perhaps for processes that we cannot end."""
    os.close(program.stdin)
    if program.status is None:
        program.popen.returncode = -signal.SIGKILL  # we have sent it; Popen must not wait for the program
    code = program.popen.returncode
    if code >= 0:
        return Ended(service, code, None, program.left)
    return Ended(service, None, signal_name(-code), program.left)


def signal_name(number: int) -> str:
    """Return the signal's name, such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRT{number}"  # a real-time signal has no name in Python
