"""What joins guard and supervisor, as the supervisor sees it."""

from __future__ import annotations

import os

ON_WATCH = 0xFF
"""The first byte that the guard sends; no signal has this number."""

ON_WATCH_WITH_GROUP = 0xFE
"""The same, where the supervisor was put into a control group of its own."""


BY_BOOTLOADER = 0x80
"""Added to the number of a signal that the guard has from the bootloader."""


class Lifeline:
    """The supervisor's ends of two pipes, and what is watched.

    ``signals`` (guard → supervisor): one of the bytes above, then the numbers of signals that the guard was sent; its
    end is the guard's death. ``orders`` (supervisor → guard): lines; ``grace N`` is how many milliseconds the services
    want when the app dies, ``file PATH`` (as ``order_of_file`` has it) a file that the guard removes at the end,
    ``run ID`` the run's cookie (on macOS). ``app`` is a pidfd of the app, or ``None`` where it cannot be watched;
    ``bootloader`` is one of the bootloader, where there is one.
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
        """Tell the guard. One write each: up to PIPE_BUF no other thread's order gets in between, see pipe(7)."""
        try:
            os.write(self.orders, line + b"\n")
        except BrokenPipeError:
            pass  # the guard is dead, which the end of ``signals`` tells


def order_of_file(path: str) -> bytes:
    """``file PATH``. A path may have a line feed in it, and no NUL: without this, its halves would be two orders."""
    return b"file " + os.fsencode(path).replace(b"\n", b"\0")


def path_of(value: bytes) -> str:
    """The path in such an order."""
    return os.fsdecode(value.replace(b"\0", b"\n"))
