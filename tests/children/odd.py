"""A script that makes an odd tree: ``odd.py KIND``, to be run with ``python -I -S``. See trees.py.

The kernel treats each of these trees specially: in its parents, in who can see it, or in what its death waits for.
"""

from __future__ import annotations

import ctypes
import os
import platform
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

if sys.platform != "linux":
    raise ImportError("namespaces, control groups and ptrace are Linux's")

sys.path.insert(0, str(Path(__file__).parents[2]))  # a script's sys.path lacks the checkout
from tests.children import trees
from tests.children.trees import enroll, hold

CLONE_PARENT, CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x8000, 0x2_0000, 0x1000_0000, 0x2000_0000
CLONE = {"x86_64": 56, "aarch64": 220}
PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 4, 36
PTRACE_SEIZE, PTRACE_O_TRACEEXIT = 0x4206, 0x40
VFORKERS = 3

SIZES = {
    "namespaces": 3,
    "adopted": 3,
    "subreaper": 2,
    "sibling": 2,
    "unreadable": 2,
    "terminal": 3,
    "traced": 3,
    "vfork": VFORKERS + 1,
    "moved": 2,
    "frozen": 2,
    "fleeing": 2,
    "sheltered": 3,
}
"""Number of processes of each whole tree."""

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int) -> int:
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def own_group() -> str:
    """Return the path of our control group (v2)."""
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    point = next(line.split(" ")[4] for line in mounts if " - cgroup2 " in line)
    path = next(line[3:] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
    return point + path.rstrip("/")


def orphaned() -> bool:
    """Fork twice. Return True in the daemon, whose parent is dead, and False in the caller."""
    if os.fork() != 0:
        os.wait()
        return False
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    return True


def namespaces(connection: socket.socket) -> None:
    """A daemon that makes new pid, user and mount namespaces, and the first process in them."""
    if orphaned():
        flags = CLONE_NEWPID | CLONE_NEWNS
        check(libc.unshare(flags if os.geteuid() == 0 else flags | CLONE_NEWUSER))
        role = "inside" if os.fork() == 0 else "outside"
        connection = enroll(role, connection)
    hold(connection)


def adopted(connection: socket.socket) -> None:
    """The first process of a pid namespace, and a second one in it, which the sidecar adopts and must reap.

    The first one's death waits in the kernel until all processes of the namespace are reaped: pid_namespaces(7).
    """
    if os.fork() == 0:
        os.setsid()
        flags = CLONE_NEWPID | CLONE_NEWNS
        check(libc.unshare(flags if os.geteuid() == 0 else flags | CLONE_NEWUSER))
        if os.fork() == 0:
            hold(enroll("first", connection))
        if os.fork() == 0:
            hold(enroll("adopted", connection))
        os._exit(0)
    os.wait()
    hold(connection)


def subreaper(connection: socket.socket) -> None:
    """A daemon that is adopted by its tree's root, and not by the sidecar."""
    check(libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
    if orphaned():
        connection = enroll("daemon", connection)
    hold(connection)


def sibling(connection: socket.socket) -> None:
    """A child of the supervisor, our parent, that the supervisor has not started."""
    if check(libc.syscall(CLONE[platform.machine()], CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0)) == 0:
        os.setsid()
        connection = enroll("sibling", connection)
    hold(connection)


def unreadable(connection: socket.socket) -> None:
    """A daemon whose /proc files its own user cannot read."""
    if orphaned():
        check(libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        connection = enroll("daemon", connection)
    hold(connection)


def terminal(connection: socket.socket) -> None:
    """The leader of a session with a terminal, and another process in that session."""
    pid, _master = pty.fork()
    if pid == 0:
        os.set_inheritable(connection.fileno(), True)
        connection = enroll("leader", connection)
        if os.fork() == 0:
            connection = enroll("member", connection)
    hold(connection)


def traced(connection: socket.socket) -> None:
    """A process that stops during its exit until its tracer continues it."""
    tracee = os.fork()
    if tracee == 0:
        hold(enroll("tracee", connection))
    if os.fork() == 0:
        os.setsid()
        check(libc.ptrace(PTRACE_SEIZE, tracee, 0, ctypes.c_void_p(PTRACE_O_TRACEEXIT)))
        connection = enroll("tracer", connection)
    hold(connection)


def vfork(connection: socket.socket) -> None:
    """Parents that wait in vfork for their child's exec, again and again."""
    for _ in range(VFORKERS):
        if os.fork() == 0:
            connection = enroll("forker", connection)
            while True:
                subprocess.Popen(["true"], close_fds=False).wait()
    hold(connection)


def moved(connection: socket.socket) -> None:
    """A daemon that has left its control group, as root may."""
    if orphaned():
        Path(f"{os.path.dirname(own_group())}/cgroup.procs").write_text("0")
        connection = enroll("daemon", connection)
    hold(connection)


def frozen(connection: socket.socket) -> None:
    """A daemon in its own control group, which is frozen."""
    if orphaned():
        connection = enroll("daemon", connection)
        inner = Path(f"{own_group()}/inner")
        inner.mkdir()
        (inner / "cgroup.procs").write_text("0")
        (inner / "cgroup.freeze").write_text("1")
    hold(connection)


def sheltered(connection: socket.socket) -> None:
    """A daemon whose child has an empty environment."""
    if orphaned():
        child = os.fork()
        if child == 0:
            os.set_inheritable(connection.fileno(), True)
            keep = [os.environ[name] for name in ("ROLL_CALL", "ROLL_DEADLINE")]
            rest = ["--rest", "sheltered", str(connection.fileno()), *keep]
            os.execve(sys.executable, [sys.executable, "-I", "-S", trees.__file__, *rest], {})  # noqa: S606  no shell needed
        connection = enroll("shelter", connection)
    hold(connection)


def fleeing(connection: socket.socket) -> None:
    """A process that forks and exits in a loop, with a new session each time, so that no listing shows it."""
    if os.fork() == 0:
        connection = enroll("runner", connection)
        connection.setblocking(False)
        deadline = float(os.environ["ROLL_DEADLINE"])  # an alarm is not inherited
        while time.monotonic() < deadline and not has_ended(connection):
            if os.fork() != 0:
                os._exit(0)
            os.setsid()
        os._exit(0)
    hold(connection)


def has_ended(connection: socket.socket) -> bool:
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False  # open, with nothing to read


if __name__ == "__main__":
    kind = sys.argv[1]
    globals()[kind](enroll("root"))
