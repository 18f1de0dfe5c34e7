"""Signals as something to read, with who sent them (Linux: signalfd(2)); a handler in Python is not told that."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator

assert sys.platform == "linux"  # for mypy: what follows exists on Linux

from sidecar.host.linux import libc

SIGSET_BYTES = 128
"""sizeof(sigset_t). The signals that matter here are in its first word."""
WORD_BYTES = 8

INFO_BYTES = 128
"""sizeof(struct signalfd_siginfo). It begins with four numbers of four bytes: signal, errno, code, sender's pid."""

INFOS = 16
"""So many are read at once; the rest with the next read. Of each kind of signal only one can wait."""


def open_signals(numbers: Iterable[int]) -> int:
    """A descriptor that gives these signals; from now on, whatever their handlers are, they do nothing else.

    Raises ``OSError``.
    """
    wanted = set(numbers)
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    word = sum(1 << (number - 1) for number in wanted)
    mask = word.to_bytes(WORD_BYTES, sys.byteorder).ljust(SIGSET_BYTES, b"\0")
    return libc.call("signalfd", -1, mask, os.O_CLOEXEC | os.O_NONBLOCK)


def read_signals(fd: int) -> Iterator[tuple[int, int]]:
    """Each signal that waits with its sender's pid, which is 0 for the kernel (a terminal's Ctrl-C)."""
    data = os.read(fd, INFOS * INFO_BYTES)
    for at in range(0, len(data), INFO_BYTES):
        number, sender = data[at : at + 4], data[at + 12 : at + 16]
        yield int.from_bytes(number, sys.byteorder), int.from_bytes(sender, sys.byteorder)
