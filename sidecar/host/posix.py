"""What every POSIX host does in the same way: start a program in a session of its own, ask it, collect it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping

assert sys.platform != "win32"  # for mypy: sessions and groups

from msgspec import Struct

from sidecar.errors import ProcessSpawnFailedError
from sidecar.events import Launch
from sidecar.host.base import Child, Ended
from sidecar.host.shared import child_environment
from sidecar.host.watchman import forwarded
from sidecar.threads import start_thread

WAKES = 512
"""So many signals are one turn of the loop."""


def watch_signals(seen: Callable[[int], None], child_died: Callable[[], None]) -> None:
    """``Tether.watch_signals``. Raises ``SystemFailureError`` if there is no thread to spare.

    A handler of Python's runs only when the main thread does, and a signal that comes to another thread, or a moment
    before the main one begins to wait, does not end its wait: a death would be seen with the next event, which may
    never come. So a thread reads of each signal, and gives the main one something to do.
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
    """A service's program. ``status`` is its wait status once it is dead; ``asked`` the signal that asked it to end."""

    popen: subprocess.Popen[bytes]
    stdin: int
    """Our end of its stdin, which is never written to: it ends with us."""
    status: int | None = None
    asked: signal.Signals | None = None
    left: tuple[int, ...] = ()
    """Who has outlived a kill: nobody waits for them any more."""


def start(
    service: str, launch: Launch, marks: Mapping[str, str], before_exec: Callable[[], None] | None = None
) -> tuple[Program, Child]:
    """Start it as the leader of a new session, with ``marks`` in its environment.

    Raises ``ProcessSpawnFailedError``.
    """
    ours: list[int] = []
    theirs: list[int] = []
    try:
        # pipes of our own: Popen's would be closed with it, under the feet of the thread that reads them
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
    """The error for a program that could not be started, because of ``error``."""
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
    """Reap the program if it is dead; whether that was now."""
    if program.status is not None:
        return False
    pid, status = os.waitpid(program.popen.pid, os.WNOHANG)
    if pid == 0:
        return False
    program.status = status
    program.popen.returncode = os.waitstatus_to_exitcode(status)  # Popen must not wait for it again
    return True


def let_go(program: Program) -> None:
    """Nobody asks any more how it ends; our own end buries it."""
    program.popen.returncode = -signal.SIGKILL  # Popen must not wait for it
    os.close(program.stdin)


def ended(service: str, program: Program) -> Ended:
    """What is told of it when its whole tree is gone, or all of it that can be ended."""
    os.close(program.stdin)
    if program.status is None:
        program.popen.returncode = -signal.SIGKILL  # which it has been sent; Popen must not wait for it
    code = program.popen.returncode
    if code >= 0:
        return Ended(service, code, None, program.left)
    return Ended(service, None, signal_name(-code), program.left)


def signal_name(number: int) -> str:
    """Such as SIGKILL."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRT{number}"  # a real-time signal has no name in Python
