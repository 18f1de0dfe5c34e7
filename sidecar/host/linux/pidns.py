"""A pid namespace for one service (``isolation: "pidNamespace"``): if its first process dies, the kernel ends the rest.

::

    supervisor ── waiter ── init ── the program ── whatever it starts
                  (its pid   (pid 1
                  outside)   inside)

Waiter and init are forks of the supervisor and import nothing, so no file has to be found and started, frozen or not.
The waiter gets SIGKILL when the supervisor dies, and init gets it when the waiter dies (PDEATHSIG). When init dies, the
kernel kills everything in the namespace, whatever its session, parents or environment (pid_namespaces(7)). So nothing
survives, even if guard and supervisor are killed together.

An unprivileged user makes it through a user namespace, which maps uid and gid to themselves.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.core.events import Launch
from sidecar.errors import ProcessSpawnFailedError
from sidecar.exit_codes import EXIT_SIGNALLED
from sidecar.host.base import Child
from sidecar.host.posix import host
from sidecar.host.shared import REFUSALS

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MS_REC = 0x4000
MS_SLAVE = 0x8_0000

PR_SET_PDEATHSIG = 1

ADVICE = (
    "Allow this user to make user namespaces (Ubuntu: sysctl kernel.apparmor_restrict_unprivileged_userns=0; Debian: "
    "sysctl kernel.unprivileged_userns_clone=1; where their number is limited: sysctl user.max_user_namespaces=10000; "
    "a container: its seccomp profile)"
)

STATUS_BYTES = 4
REASON_BYTES = 512


def start(
    service: str, launch: Launch, marks: Mapping[str, str], die_with_parent: Callable[[], None]
) -> tuple[host.Program, Child]:
    """Start the program as ``sidecar.host.posix.host.start`` does, but in a pid namespace.

    Raises ``ProcessSpawnFailedError``.
    """
    try:
        namespace = PidNamespace(die_with_parent)
    except OSError as error:
        raise host.not_started(service, launch, error) from None  # EMFILE, ENFILE
    try:
        started = host.start(service, launch, marks, namespace.enter)
    except ProcessSpawnFailedError:
        refused = namespace.close()
        if refused is None:
            raise
        if refused.errno in REFUSALS:
            raise host.not_started(service, launch, refused) from None  # no process to spare, namespace or not
        raise ProcessSpawnFailedError(
            f"{service}: isolation 'pidNamespace' is not available here ({_reason(refused)}). {ADVICE}, or leave "
            "isolation out.",
            service=service,
            program=launch.argv[0],
        ) from None
    namespace.close()
    return started


def why_not() -> str | None:
    """Try to make a pid namespace. Return why no service can have one here; ``None`` if one can.

    Raises ``OSError`` if the system has no process or descriptor to spare for it.
    """
    namespace = PidNamespace(lambda: None)  # it ends at once, so its life need not be bound to ours
    try:
        waiter = os.fork()
        if waiter == 0:
            try:
                namespace.enter()
            finally:
                os._exit(0)
        os.waitpid(waiter, 0)
    finally:
        refused = namespace.close()
    if refused is not None and refused.errno in REFUSALS:
        raise refused
    return None if refused is None else _reason(refused)


def _reason(refused: OSError) -> str:
    return f"{refused.filename}: {refused.strerror}"


class PidNamespace:
    """What one spawn needs. The child calls ``enter`` before its exec; ``close`` tells the parent why that failed."""

    def __init__(self, die_with_parent: Callable[[], None]) -> None:
        """``die_with_parent`` binds a direct child's life to ours. Raises ``OSError``."""
        import ctypes

        self._libc = ctypes.CDLL(None, use_errno=True)
        self._errno = ctypes.get_errno
        self._die_with_parent = die_with_parent
        self._reasons, self._reason = os.pipe()

    def close(self) -> OSError | None:
        """Close the pipe. Return why no namespace could be made; the error's ``filename`` is the system call."""
        os.close(self._reason)
        told = os.fsdecode(os.read(self._reasons, REASON_BYTES))
        os.close(self._reasons)
        number, _, call = told.partition(" ")
        return OSError(int(number), os.strerror(int(number)), call) if told else None

    def enter(self) -> None:
        """Fork twice. This returns inside, in the later program; the caller becomes the waiter and never returns.

        Raises ``OSError``.
        """
        try:
            self._unshare()
            self._die_with_parent()
            alive, waiter_lives = os.pipe()
            statuses, status = os.pipe()
            before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            init = os.fork()
        except OSError as error:
            self._tell(error)
            raise
        if init != 0:
            _never_return(lambda: _wait_for(init, statuses, waiter_lives))
        os.close(waiter_lives)
        self._libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if _has_ended(alive):
            os._exit(127)  # the waiter died before we asked the kernel
        self._mount_proc()
        try:
            program = os.fork()
        except OSError as error:
            self._tell(error)
            raise
        if program != 0:
            _never_return(lambda: _reap_until(program, status))
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _tell(self, error: OSError) -> None:
        os.write(self._reason, os.fsencode(f"{error.errno} {error.filename or 'fork'}"))

    def _unshare(self) -> None:
        """Make a pid namespace for our children, and a mount namespace for us, for its /proc. Raises ``OSError``."""
        if self._libc.unshare(CLONE_NEWPID | CLONE_NEWNS) == 0:
            return  # privileged: no user namespace is needed
        uid, gid = os.geteuid(), os.getegid()
        if self._libc.unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS) != 0:
            number = self._errno()
            raise OSError(number, os.strerror(number), "unshare")
        # user_namespaces(7): an unprivileged user may map a group only after setgroups(2) is denied
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
            os.write(fd, text.encode())
            os.close(fd)

    def _mount_proc(self) -> None:
        """Mount a /proc with the pids of the inside. If that is forbidden (a container), the outer /proc stays."""
        # a slave: what the user mounts later is still seen inside, but our mount is not seen outside
        if self._libc.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None) == 0:
            self._libc.mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, None)


def _never_return(work: Callable[[], NoReturn]) -> NoReturn:
    try:
        work()
    finally:
        os._exit(127)  # whatever happened: this fork of the supervisor must not become a second supervisor


def _wait_for(init: int, statuses: int, waiter_lives: int) -> NoReturn:
    """Run the waiter: end as the program did. All signals are blocked: those to the group are for the program."""
    _close_all_but(statuses, waiter_lives)
    told = os.read(statuses, STATUS_BYTES)
    os.waitpid(init, 0)
    # a killed init sent no status
    status = int.from_bytes(told, "little") if len(told) == STATUS_BYTES else int(signal.SIGKILL)
    if os.WIFEXITED(status):
        os._exit(os.WEXITSTATUS(status))
    number = os.WTERMSIG(status)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # only the program's own core dump is of interest
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    os._exit(EXIT_SIGNALLED + number)


def _reap_until(program: int, status: int) -> NoReturn:
    """Run init: reap all orphans inside, and exit when the program ends."""
    _close_all_but(status)
    while True:
        pid, how = os.wait()
        if pid == program:
            os.write(status, how.to_bytes(STATUS_BYTES, "little"))
            os._exit(0)


def _has_ended(pipe: int) -> bool:
    poll = select.poll()
    poll.register(pipe, select.POLLIN)
    return bool(poll.poll(0))


def _close_all_but(*kept: int) -> None:
    """Close all descriptors but the standard streams and ``kept``. The pipe of ``subprocess`` matters most.

    ``subprocess`` takes the end of that pipe as the sign that the program has started.
    """
    first = 3
    for fd in sorted(kept):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))
