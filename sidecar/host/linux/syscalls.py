"""System calls that Python lacks, or that take several of its functions: prctl(2), signalfd(2), the poll of a pidfd.

Guard, keeper and supervisor load this, so it loads ctypes only when a call needs it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterable, Iterator

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36

SIGSET_BYTES = 128
"""sizeof(sigset_t). The signals that matter here are in its first word."""
WORD_BYTES = 8

INFO_BYTES = 128
"""sizeof(struct signalfd_siginfo). It begins with four numbers of four bytes: signal, errno, code, sender's pid."""

INFOS = 16
"""How many records one read takes. The next read takes the rest. Only one signal of each number can be pending."""


def call(function: str, *arguments: int | bytes) -> int:
    """Call a function of the C library and return its result. Raises ``OSError``."""
    import ctypes  # loaded only for a call

    library = ctypes.CDLL(None, use_errno=True)
    result: int = library[function](*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def prctl(option: int, argument: int | bytes) -> None:
    """Set an attribute of this process.

    Raises ``OSError``. Source: prctl(2).
    """
    call("prctl", option, argument, 0, 0, 0)


def is_dead(pidfd: int | None) -> bool:
    """Tell whether the process is known to be dead; ``False`` if it is not watched."""
    if pidfd is None:
        return False
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


def open_signals(numbers: Iterable[int]) -> int:
    """Open a descriptor that gives these signals with their senders. A handler in Python does not learn the sender.

    From now on these signals do nothing else, whatever their handlers are. Raises ``OSError``. Source: signalfd(2).
    """
    wanted = set(numbers)
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    word = sum(1 << (number - 1) for number in wanted)
    mask = word.to_bytes(WORD_BYTES, sys.byteorder).ljust(SIGSET_BYTES, b"\0")
    return call("signalfd", -1, mask, os.O_CLOEXEC | os.O_NONBLOCK)


def read_signals(fd: int) -> Iterator[tuple[int, int]]:
    """Read each pending signal and its sender's pid. The pid is 0 for the kernel (a terminal's Ctrl-C)."""
    data = os.read(fd, INFOS * INFO_BYTES)
    for at in range(0, len(data), INFO_BYTES):
        number, sender = data[at : at + 4], data[at + 12 : at + 16]
        yield int.from_bytes(number, sys.byteorder), int.from_bytes(sender, sys.byteorder)
