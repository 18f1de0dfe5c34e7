"""The terminal as a device: its modes, whether we are in the foreground, and the keys pressed.

Echo and line editing are off while we run. Signals stay on, so Ctrl-C, Ctrl-Z and Ctrl-S keep their meaning even if no
process of ours listens. The supervisor restores the saved modes at its end. If it is SIGKILLed, the guard restores
them; if both are, ``stty sane`` does. We never hide the cursor, and use no scroll region and no second screen. So
whatever kills us, the terminal stays usable.

This imports little: the guard loads it before it forks.
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

from sidecar.host import look_at

TYPE_CHECKING = False  # see sidecar.errors
if TYPE_CHECKING:  # it loads msgspec
    from sidecar.host.base import Seen

KEY_BYTES = 64
"""Far more than a person types between two reads."""

PASTE_BYTES = 8
"""More bytes than this at once are a paste, not typing."""

HANGUP_S = 1.0
"""When the terminal goes away, the kernel also sends SIGHUP if it is our controlling terminal. Wait this long for it
before reporting the end, so that one event does not look like two."""

BACKGROUND_S = 1.0
"""Seconds between two checks whether we are in the foreground again. No event tells us."""

FOLLOW_S = 1.0
"""Bound on waiting for the shell's child to stop on Ctrl-Z. It needs microseconds, unless it handles the signal."""

GLANCE_S = 0.002
"""Seconds between two checks whether the child has stopped. The kernel tells only its parent."""

Modes = list[Any]
"""The result of ``tcgetattr``."""

_LFLAG, _CC = 3, 6
_ESCAPE_SEQUENCE = re.compile(rb"\x1b(?:[\[O][0-?]*[ -/]*[@-~]?|.)?", re.DOTALL)


class Terminal:
    """The terminal that keys come from, and the modes that it had before we changed them."""

    __slots__ = ("_ours", "_saved", "fd", "suspends")

    def __init__(self, fd: int) -> None:
        """Keep the modes of ``fd``. Raises ``termios.error`` if it is not a terminal."""
        self.fd = fd
        self._saved = termios.tcgetattr(fd)
        self._ours: Modes | None = None
        """The modes that we have set; ``None`` before that, and in the guard."""
        self.suspends = False
        """Whether the supervisor handles Ctrl-Z."""

    def take(self) -> None:
        """Set our modes if we are in the foreground: keys come one by one, without echo."""
        now = self._modes()
        if now is None or not in_foreground(self.fd):
            return
        if now != self._ours:
            self._saved = now  # also after fg: a start in the background has saved the modes of the shell's line editor
        self._set(_unseen(self._saved))
        self._ours = self._modes()

    def give_back(self) -> None:
        """Restore the saved modes, if we are in the foreground or the terminal still has our modes.

        In the second case the guard was killed (or the bootloader was, and this is the guard). Then the shell has the
        terminal again, but it did not set the modes.
        """
        if in_foreground(self.fd) or self._modes() == (self._ours or _unseen(self._saved)):
            self._set(self._saved)

    def postpone_suspend(self) -> None:
        """Ignore Ctrl-Z, in this process and in those that it forks.

        The supervisor handles it instead: it restores the terminal and then stops all of us. If the guard, which is the
        shell's child, stopped first, the shell would get the terminal with our modes. A bootloader above the guard does
        stop first: see ``stop_job``.
        """
        if signal.getsignal(signal.SIGTSTP) is signal.SIG_DFL:  # else there is no job control here
            signal.signal(signal.SIGTSTP, signal.SIG_IGN)
            self.suspends = True

    def is_gone(self) -> bool:
        """Tell whether the terminal is gone."""
        return self._modes() is None

    def _modes(self) -> Modes | None:
        try:
            return termios.tcgetattr(self.fd)
        except termios.error:
            return None  # EIO (macOS: EBADF, ENOTTY, ENXIO): the terminal is gone, and its modes with it

    def _set(self, modes: Modes) -> None:
        # if the shell has taken the terminal since the check, SIGTTOU would stop us; in a thread that blocks the signal
        # the call succeeds, on Linux and on macOS
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
        try:
            termios.tcsetattr(self.fd, termios.TCSANOW, modes)  # not TCSADRAIN: it would block while Ctrl-S is on
        except termios.error:
            pass  # EIO: the terminal is gone, and its modes with it
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _unseen(modes: Modes) -> Modes:
    """Return modes where keys come one by one and are not echoed."""
    ours = [*modes[:_CC], [*modes[_CC]]]
    ours[_LFLAG] &= ~(termios.ECHO | termios.ICANON)
    ours[_CC][termios.VMIN] = 1
    ours[_CC][termios.VTIME] = 0
    return ours


def find_terminal() -> Terminal | None:
    """Return the terminal on stdin, if stdout is a terminal, too."""
    return Terminal(os.dup(0)) if os.isatty(0) and os.isatty(1) else None


def ignore_quit() -> None:
    r"""Ignore Ctrl-\, in this process and in those that it forks.

    The kernel sends SIGQUIT to the guard and the supervisor in the same instant. If both died of it, nothing could end
    the tree. The supervisor sets a handler instead.
    """
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)


def in_foreground(fd: int) -> bool:
    """Tell whether our process group is in the foreground of the terminal ``fd``."""
    try:
        return os.tcgetpgrp(fd) in (os.getpgrp(), 0)  # 0: the group is outside of our pid namespace
    except OSError:
        return (
            True  # ENOTTY: not our controlling terminal, so no job control; EIO: it is gone, a write will report that
        )


def stop_job() -> None:
    """Stop as Ctrl-Z does; return when we are continued.

    Do nothing if no shell could continue us (POSIX calls such a process group orphaned). The shell watches its own
    child. If that is the guard, it has ignored Ctrl-Z, and stops only now together with us. Any other child (npm, a
    script, the bootloader of a frozen sidecar) was stopped by Ctrl-Z itself. Since then the shell has the terminal, and
    its fg may have continued that child already. Stopping the whole group now would undo the fg.
    """
    child = _child_of_shell()
    if child is None:
        return
    if child.pid in {os.getpid(), os.getppid()}:
        os.killpg(os.getpgrp(), signal.SIGSTOP)
    else:
        _stop_like(child.pid)


def _child_of_shell() -> Seen | None:
    """Return the shell's child above us: its parent is in our session, but not in our process group."""
    group, found = os.getpgrp(), look_at(os.getpid())
    try:
        while found is not None and found.ppid != 0:
            if os.getpgid(found.ppid) != group:
                return found if os.getsid(found.ppid) == os.getsid(0) else None
            found = look_at(found.ppid)
    except ProcessLookupError:
        pass  # it has ended since: the group is orphaned
    return None  # also at the top of a pid namespace


def _stop_like(pid: int) -> None:
    """Stop if that process is stopped, unless SIGCONT comes first.

    A check followed by a stop would have a race: SIGCONT may come in between. But SIGCONT discards a pending stop
    signal, even a blocked one (signal(7)). So we block a stop signal, make it pending, and check only then. On macOS,
    SIGCONT discards it only in the first thread that takes SIGCONT: the main thread, which runs this.
    """
    handler = signal.getsignal(signal.SIGTSTP)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})
    signal.pthread_kill(get_ident(), signal.SIGTSTP)
    signal.signal(signal.SIGTSTP, signal.SIG_DFL if _comes_to_a_stop(pid) else signal.SIG_IGN)  # the latter discards it
    signal.pthread_sigmask(signal.SIG_SETMASK, before)  # if the signal is still pending, it stops us here
    signal.signal(signal.SIGTSTP, handler)


def _comes_to_a_stop(pid: int) -> bool:
    """Wait until that process is stopped, but not longer than the bound, nor after SIGCONT; return whether it is."""
    deadline = time.monotonic() + FOLLOW_S
    while signal.SIGTSTP in signal.sigpending() and time.monotonic() < deadline:
        process = look_at(pid)
        if process is None or process.stopped:
            return process is not None
        time.sleep(GLANCE_S)
    return False


def read_keys(terminal: Terminal, pressed: Callable[[str], None], gone: Callable[[], None]) -> None:
    """Pass keys to ``pressed``, and call ``gone`` once if the terminal goes away; the body of a thread.

    A read never blocks. The shell reads from the same terminal, and may take a key that select has reported to us. A
    blocking read would then go on in the background, and steal the next input to the shell.
    """
    # with SIGTTIN blocked, a read from the background gives EIO and does not stop the process, on both systems
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTIN})
    fd = _reopen(terminal.fd)
    while True:
        select.select([fd], [], [])  # not poll: by its manual, poll(2) of macOS does not support devices
        if not in_foreground(fd):
            time.sleep(BACKGROUND_S)
            continue
        # The shell may have read the key since. Then we must not read: a read that finds nothing waits until the kernel
        # has processed what is being typed. If that is Ctrl-Z and then a line for the shell, we would get the line:
        # the kernel checks only before the wait that we are in the foreground (n_tty_read in drivers/tty/n_tty.c).
        if not select.select([fd], [], [], 0)[0]:
            continue
        try:
            data = os.read(fd, KEY_BYTES)
        except OSError:
            # EAGAIN: Ctrl-Z has discarded the key; EIO: the shell has just taken the terminal, or the terminal is gone
            if not terminal.is_gone():
                continue
            data = b""
        if not data:  # the end; or Ctrl-D after another program has reset our modes, which means the same
            time.sleep(HANGUP_S)
            gone()
            return
        for key in keys_in(data):
            pressed(key)


def _reopen(fd: int) -> int:
    """Open the terminal again, for reads that do not block.

    ``os.set_blocking`` on our descriptor would affect the shell, too, because both share the open file.
    """
    try:
        return os.open(os.ttyname(fd), os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return fd  # ENODEV, ENOENT: our /dev does not have the terminal; EACCES: after su it belongs to another user


def keys_in(data: bytes) -> str:
    """Return the keys in ``data``: no arrows or function keys, which mean nothing here, and no paste."""
    keys = _ESCAPE_SEQUENCE.sub(b"", data)
    return keys.decode("ascii", "ignore") if len(keys) <= PASTE_BYTES else ""
