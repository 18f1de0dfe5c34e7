"""Our own messages on stderr, for a person. This module is small on purpose: importing logging slows down the start.

An error of a command ends with the page that explains it (``docs``). That imports nothing, because the error may be
that no more files can be opened.
"""

from __future__ import annotations

import os
import select
import sys

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

TITLES = {
    "errors": "Errors by code",
    "exit-codes": "Exit codes",
    "options": "Every option",
    "tauri-app": "Add it to a Tauri app",
    "troubleshooting": "Troubleshooting",
}
"""The pages that messages name, with the title that each has in the menu of the site."""

ADDRESS_FILE = "site.txt"
"""Holds the address of the documentation's site, if the package was built with one. A checkout has no such file."""

_PACKAGE = os.path.dirname(os.path.abspath(__file__))


def read_address() -> str:
    """Return the address of the documentation's site; an empty text if there is none."""
    try:
        with open(os.path.join(_PACKAGE, ADDRESS_FILE), encoding="utf-8") as address:
            return address.read().strip().rstrip("/")
    except (OSError, UnicodeError):
        return ""  # ENOENT: the usual case


_ADDRESS = read_address()
"""Read at the start: later the unpacked folder of a killed bootloader may be another user's."""

_threshold = LEVELS["warning"]


def set_level(name: str) -> None:
    """Show messages from this level on; ``name`` is one of ``LEVELS``."""
    global _threshold  # noqa: PLW0603  one process, one stderr
    _threshold = LEVELS[name]


def say(level: str, message: str) -> None:
    """Write one line to stderr. Never raise, and never wait: drop what does not fit into the pipe.

    An app may launch us with a pipe and never read it. A supervisor that waited for that app would serve nothing and
    kill nothing. Windows cannot tell whether a pipe has room, so there this waits.
    """
    if LEVELS[level] >= _threshold:
        # a message may quote the name of a file or program, which must not control the terminal that shows it
        shown = "".join(it if it.isprintable() or it in "\n\t" else ascii(it)[1:-1] for it in message)
        rest = f"sidecar {level}: {shown}\n".encode("utf-8", "backslashreplace")
        try:
            while rest and _has_room(2):
                rest = rest[os.write(2, rest[:_ROOM]) :]
        except OSError:
            pass  # EPIPE, EBADF, EAGAIN: our messages are not read, but the work goes on


def say_error(message: str, page: str, part: str = "") -> None:
    """Write an error, and below it where the documentation explains it."""
    say("error", f"{message}\n{docs(page, part)}")


def docs(page: str, part: str = "") -> str:
    """Name a page of the documentation: by its address, else by its file in a checkout, else by its title.

    ``part`` is one of its headings, of words without punctuation. Never raise.
    """
    anchor = f"#{part.lower().replace(' ', '-')}" if part else ""
    file = os.path.join(os.path.dirname(_PACKAGE), "tauri-integration", "docs", f"{page}.md")
    if _ADDRESS:
        place = f"{_ADDRESS}/{page}/{anchor}"
    else:
        place = f"{file}{anchor}" if os.path.isfile(file) else ", ".join(filter(None, (TITLES[page], part)))
    return f"Docs: {place}"


_ROOM = 4096
"""If poll(2) says that there is room, this much can be written: a page of Linux's pipes, see pipe(7)."""


def _has_room(fd: int) -> bool:
    if sys.platform == "win32":
        return True
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))
