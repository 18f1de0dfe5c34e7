"""The pipes between guard and supervisor, seen from the supervisor."""

from __future__ import annotations

import os

ON_WATCH = 0xFF
"""The first byte that the guard sends; no signal has this number."""

ON_WATCH_WITH_GROUP = 0xFE
"""Sent instead, if the guard has put the supervisor into a control group."""


BY_BOOTLOADER = 0x80
"""Added to the number of a signal that the bootloader forwarded to the guard."""


WATCH_STDIN = b"stdin"
"""The order to end the tree after the end of stdin, if the supervisor does not."""


class Lifeline:
    """The supervisor's ends of the two pipes, and the pidfds that the guard opened.

    ``signals`` (guard → supervisor) carries one of the bytes above, then the numbers of signals that the guard was
    sent. Its end is the guard's death.

    ``orders`` (supervisor → guard) carries lines:

    - ``grace N``: the milliseconds that the services need when the app dies.
    - ``file PATH`` (see ``order_of_file``): a file that the guard removes at the end.
    - ``unpacked IDENTITY PATH``: a folder to remove after the guard's end (see ``sidecar.host.one_file``).
    - ``removed IDENTITY PATH``: the same folder is gone.
    - ``run ID``: the run's cookie (on macOS).
    - ``stdin``: ``WATCH_STDIN``.

    ``app`` is a pidfd of the app, or ``None`` if it cannot be watched. ``bootloader`` is a pidfd of the bootloader, or
    ``None`` if there is none.
    """

    __slots__ = ("app", "bootloader", "guard_pid", "orders", "signals")

    def __init__(self, guard_pid: int, signals: int, orders: int, app: int | None, bootloader: int | None) -> None:
        """Keep them."""
        self.guard_pid = guard_pid
        self.signals = signals
        self.orders = orders
        self.app = app
        self.bootloader = bootloader

    def order(self, line: bytes) -> None:
        """Send an order by one write: up to PIPE_BUF it is atomic (pipe(7)), so orders of two threads never mix."""
        try:
            os.write(self.orders, line + b"\n")
        except BrokenPipeError:
            pass  # the guard is dead; the end of ``signals`` tells the same


def order_of_file(path: str) -> bytes:
    """Make ``file PATH``. Each line feed in the path becomes NUL, because it would end the order."""
    return b"file " + _in_a_line(path)


def order_of_unpacked(path: str, identity: str, *, there: bool = True) -> bytes:
    """Make ``unpacked IDENTITY PATH`` (or ``removed``), with the path as in ``order_of_file``."""
    return (b"unpacked " if there else b"removed ") + identity.encode() + b" " + _in_a_line(path)


def _in_a_line(path: str) -> bytes:
    return os.fsencode(path).replace(b"\n", b"\0")


def path_of(value: bytes) -> str:
    """Return the path in such an order."""
    return os.fsdecode(value.replace(b"\0", b"\n"))
