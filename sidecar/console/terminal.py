"""The terminal as a device: its modes, whether it is ours just now, and the keys pressed.

Modes: echo and line editing are off while we run, signals stay on, so Ctrl-C, Ctrl-Z and Ctrl-S keep their meaning even
when nothing of ours listens. The saved modes come back at every end of the supervisor; when it is SIGKILLed, the guard
brings them back; when both are, ``stty sane`` does. The cursor is never hidden, no scroll region and no
second screen is used: whatever kills us, the terminal is usable.

Light on purpose: the guard loads this before it forks.
"""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import time
from _thread import get_ident
from collections.abc import Callable
from typing import Any

assert sys.platform != "win32"  # for mypy: what follows exists on POSIX only

import termios

from sidecar.host import bundle, look_at

TYPE_CHECKING = False  # see sidecar.errors
if TYPE_CHECKING:  # it loads msgspec
    from sidecar.host.base import Seen

KEY_BYTES = 64
"""Far more than a person types between two reads."""

PASTE_BYTES = 8
"""More than this at once was not typed."""

HANGUP_S = 1.0
"""When the terminal goes away, the kernel's SIGHUP says so too, unless it is not our controlling terminal. It gets this
start, so that the one event does not look like two."""

BACKGROUND_S = 1.0
"""While another program reads the terminal's keys, so often we look whether it is ours again: no notice tells."""

FOLLOW_S = 1.0
"""The program that Ctrl-Z is to stop with us stops in microseconds, unless it decides otherwise."""

GLANCE_S = 0.002
"""Between two looks whether it has: only its parent is told."""

Modes = list[Any]
"""What ``tcgetattr`` gives."""

_LFLAG, _CC = 3, 6
_ESCAPE_SEQUENCE = re.compile(rb"\x1b(?:[\[O][0-?]*[ -/]*[@-~]?|.)?", re.DOTALL)


class Terminal:
    """The terminal that keys come from, and the modes that it had before us."""

    __slots__ = ("_ours", "_saved", "fd", "suspends")

    def __init__(self, fd: int) -> None:
        """Keep the modes of ``fd``. Raises ``termios.error`` if it is none."""
        self.fd = fd
        self._saved = termios.tcgetattr(fd)
        self._ours: Modes | None = None
        """Those that we have set; ``None`` before, and in the guard."""
        self.suspends = False
        """Whether Ctrl-Z is left to the supervisor."""

    def take(self) -> None:
        """Keys come one by one, unseen, if the terminal is ours now."""
        now = self._modes()
        if now is None or not in_foreground(self.fd):
            return
        if now != self._ours:
            self._saved = now  # also after fg: what we found at the start in the background were an editing shell's
        self._set(_unseen(self._saved))
        self._ours = self._modes()

    def give_back(self) -> None:
        """The modes from before us, if the terminal is ours now, or nobody has changed them since it was.

        In the second case the guard was killed (or the bootloader, and this is the guard), and its end gave the
        terminal to a shell that does not look at modes.
        """
        if in_foreground(self.fd) or self._modes() == (self._ours or _unseen(self._saved)):
            self._set(self._saved)

    def postpone_suspend(self) -> None:
        """Ignore Ctrl-Z, in this process and those it forks.

        The supervisor then takes it, and stops all of us once the terminal is in order. If the guard, which is the
        shell's child, stopped first, the shell would have the terminal with our modes.
        """
        if signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL:  # else nobody here does job control
            signal.signal(signal.SIGTSTP, signal.SIG_IGN)
            self.suspends = True

    def is_gone(self) -> bool:
        """Whether the terminal does not answer any more."""
        return self._modes() is None

    def _modes(self) -> Modes | None:
        try:
            return termios.tcgetattr(self.fd)
        except termios.error:
            return None  # EIO (macOS: EBADF, ENOTTY, ENXIO): the terminal is gone, and its modes with it

    def _set(self, modes: Modes) -> None:
        # the shell may have taken the terminal since we looked, and SIGTTOU would stop us for it; a thread that blocks
        # it sets the modes all the same, on Linux as on macOS
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            termios.tcsetattr(self.fd, termios.TCSANOW, modes)  # not TCSADRAIN: Ctrl-S would hold it for ever
        except termios.error:
            pass  # EIO: the terminal is gone, and its modes with it
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _unseen(modes: Modes) -> Modes:
    """The same, but that keys come one by one, and are not echoed."""
    ours = [*modes[:_CC], [*modes[_CC]]]
    ours[_LFLAG] &= ~(termios.ECHO | termios.ICANON)
    ours[_CC][termios.VMIN] = 1
    ours[_CC][termios.VTIME] = 0
    return ours


def find_terminal() -> Terminal | None:
    """The terminal on stdin, if there is one on stdout, too."""
    return Terminal(os.dup(0)) if os.isatty(0) and os.isatty(1) else None


def ignore_quit() -> None:
    r"""Ignore Ctrl-\, in this process and those it forks.

    It goes to the guard and the supervisor in the same instant, and nobody would be left to end the tree. The
    supervisor takes it instead.
    """
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)


def in_foreground(fd: int) -> bool:
    """Whether the terminal ``fd`` is our process group's now."""
    try:
        return os.tcgetpgrp(fd) in (os.getpgrp(), 0)  # 0: the group is outside of our pid namespace
    except OSError:
        return True  # ENOTTY: not our controlling terminal, so no job control; EIO: gone, which a write will tell


def stop_job() -> None:
    """Stop as Ctrl-Z does; returns when we are continued.

    Does nothing where no shell would ever continue us: then the group is what POSIX calls orphaned. The shell looks at
    its own child. That is one of us, which ignored Ctrl-Z until now; or another program (npm, a script), which Ctrl-Z
    has stopped, and which fg may have continued before we got here.
    """
    child = _child_of_shell()
    if child is None:
        return
    if child.pid in _ours():
        os.killpg(os.getpgrp(), signal.SIGSTOP)
    else:
        _stop_like(child.pid)


def _child_of_shell() -> Seen | None:
    """The first process at or above us whose parent is of our session, but not of our group."""
    group, found = os.getpgrp(), look_at(os.getpid())
    try:
        while found is not None and found.ppid != 0:
            if os.getpgid(found.ppid) != group:
                return found if os.getsid(found.ppid) == os.getsid(0) else None
            found = look_at(found.ppid)
    except ProcessLookupError:
        pass  # it went since the look: an orphaned group
    return None  # also at the top of a pid namespace


def _ours() -> tuple[int, int, int]:
    """The supervisor and the guard above it; and a bootloader, where it is frozen into one file."""
    guard = os.getppid()
    above = look_at(guard)
    return os.getpid(), guard, above.ppid if above is not None and bundle.unpacked_folder() is not None else guard


def _stop_like(pid: int) -> None:
    """Stop if that process is stopped, unless SIGCONT comes before we do.

    No look at it, followed by a stop, could tell: SIGCONT may come in between. But the kernel discards a stop signal
    that is pending when SIGCONT comes, even a blocked one (signal(7)): so first it is made pending, then we look. On
    macOS it does so for one thread only, the first that takes SIGCONT: the main thread, which we are.
    """
    handler = signal.getsignal(signal.SIGTSTP)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
    signal.pthread_kill(get_ident(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, signal.SIG_DFL if _comes_to_a_stop(pid) else signal.SIG_IGN)  # the latter discards it
    signal.pthread_sigmask(signal.SIG_SETMASK, before)  # here it stops us, if it is pending still
    signal.signal(signal.SIGTSTP, handler)


def _comes_to_a_stop(pid: int) -> bool:
    """Whether that process is stopped, or is so within the bound and before anybody continues us."""
    deadline = time.monotonic() + FOLLOW_S
    while signal.SIGTSTP in signal.sigpending() and time.monotonic() < deadline:
        process = look_at(pid)
        if process is None or process.stopped:
            return process is not None
        time.sleep(GLANCE_S)
    return False


def read_keys(terminal: Terminal, pressed: Callable[[str], None], gone: Callable[[], None]) -> None:
    """A thread's body: keys to ``pressed``, and ``gone`` once if the terminal goes away."""
    # a read from the background then gives EIO instead of stopping the whole process, on both systems
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTIN})
    while True:
        select.select([terminal.fd], [], [])  # of macOS's poll(2) its manual says that it does not support devices
        if not in_foreground(terminal.fd):
            time.sleep(BACKGROUND_S)
            continue
        try:
            data = os.read(terminal.fd, KEY_BYTES)
        except OSError:
            # EIO: the shell took it in this instant, or it is gone; EAGAIN: somebody else read the key
            if not terminal.is_gone():
                continue
            data = b""
        if not data:  # its end; or Ctrl-D where somebody has undone our modes, which means the same
            time.sleep(HANGUP_S)
            gone()
            return
        for key in keys_in(data):
            pressed(key)


def keys_in(data: bytes) -> str:
    """The keys that were pressed: not the arrows and function keys, which mean nothing here, and no paste."""
    keys = _ESCAPE_SEQUENCE.sub(b"", data)
    return keys.decode("ascii", "ignore") if len(keys) <= PASTE_BYTES else ""
