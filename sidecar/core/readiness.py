"""Judgements on what a program printed and how it ended: pure functions over text.

The patterns are what node, npm's world, Python and the C library print; a line counts whatever colours it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sidecar.events import Address, Endpoint

MATCHED = 2_048
"""So much of a line is compared with a pattern: a backtracking one takes a power of the line's length."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_IN_USE = re.compile(
    r"EADDRINUSE|address already in use|port \d+ is (?:already )?in use|only one usage of each socket", re.IGNORECASE
)
_NUMBER = re.compile(r"(?<![\d.])\d{2,5}(?![\d.])")
_WATCHES = re.compile(
    r"ENOSPC: System limit for number of file watchers reached|ENOSPC\b.*\bwatch\b|inotify watch limit reached"
)
_WATCHERS = re.compile(r"EMFILE\b.*\bwatch\b|inotify instance limit reached")
_LOCK = re.compile(r"Found another Vite (?:\w+) process for this project(?: at (\S+))? \(PID (\d+)\)")
_HOPELESS = (
    (
        _WATCHES,
        "This user has no file watches left. Raise fs.inotify.max_user_watches (sudo sysctl -w), then start again.",
    ),
    (
        _WATCHERS,
        "This user has no file watcher left. Raise fs.inotify.max_user_instances or ulimit -n, then start again.",
    ),
    (
        re.compile(r"failed to load config from"),
        "Vite could not load its configuration. Correct what the lines name and start again.",
    ),
    (
        re.compile(r"Cannot find (?:module|package) '(?:\.{0,2}/|[A-Za-z]:[\\/]|file:)"),
        "A file that the program asks for is not there. Correct the path that the lines name and start again.",
    ),
    (
        re.compile(r"ERR_MODULE_NOT_FOUND|MODULE_NOT_FOUND|Cannot find (?:module|package)"),
        "A module is missing. Install the project's packages (npm install) and start again.",
    ),
    (
        re.compile(r"ModuleNotFoundError"),
        "A Python module is missing. Install it where this Python finds it (pip install, uv sync) and start again.",
    ),
    (
        re.compile(
            r"CACError|[Uu]nknown option|bad option|unrecognized arguments|invalid option|"
            r"is not allowed in NODE_OPTIONS"
        ),
        "The program does not know one of its arguments. Correct the service's args and start again.",
    ),
    (
        # not JSON's: that is about data, which may be right the next time
        re.compile(r"^\s*(?:\[?(?:\w+\.)?)SyntaxError(?!.*\bJSON\b)", re.MULTILINE),
        "Its last lines report a syntax error. Correct it and start again.",
    ),
    (
        re.compile(r"requires? Node\.?js (?:version )?[\d^>=v]|Unsupported engine", re.IGNORECASE),
        "The program asks for another version of node. Install the one that its lines name and start again.",
    ),
)
_BANNER = re.compile(
    r"\b(?:Local|Network)\b[^\w/]*(?P<scheme>https?)://(?P<host>\[[0-9a-f:]+\]|[\w.-]+):(?P<port>\d+)(?P<base>/[^\s?#]*)?"
)
_NOT_RUNNABLE = {
    126: "The program was found but may not be run. Check its permissions.",
    127: "The shell found no such program. Check the service's command.",
}


def plain(text: str) -> str:
    """The text without ANSI escape sequences."""
    return _ANSI.sub("", text) if "\x1b" in text else text


def port_is_taken(lines: Iterable[str], port: int) -> bool:
    """Whether the program said that ``port`` is in use; a line that names only other ports is about those."""
    for line in map(plain, lines):
        if _IN_USE.search(line):
            numbers = {int(number) for number in _NUMBER.findall(re.sub(r"\[?Errno \d+\]?", "", line))}
            if not numbers or port in numbers:
                return True
    return False


def out_of_watches(lines: Iterable[str]) -> bool:
    """Whether the program said that the system lets it watch no more files."""
    return any(_WATCHES.search(line) or _WATCHERS.search(line) for line in map(plain, lines))


def hopeless(lines: Iterable[str], code: int | None) -> str | None:
    """Advice, where trying again cannot help; else ``None``. ``code`` is the exit code."""
    if code is None:
        return None  # by a signal: says nothing about the program
    text = "\n".join(map(plain, lines))
    if lock := _LOCK.search(text):
        place = f" at {lock[1]}" if lock[1] else ""
        return (
            f"Another Vite of this project runs already{place} (pid {lock[2]}), and this version of Vite starts no "
            "second one. Use that one, or end it; 'sidecar ps' shows it if a sidecar has started it. To have both, "
            'give Vite the argument "--bypass-lock".'
        )
    for pattern, advice in _HOPELESS:
        if pattern.search(text):
            return advice
    return _NOT_RUNNABLE.get(code)


def told_address(lines: Iterable[str], endpoint: Endpoint) -> Address | None:
    """The address of its own page that a dev server has printed behind "Local" or "Network"; else ``None``."""
    hosts = {endpoint.host, "localhost", "127.0.0.1", "[::1]"}
    for line in map(plain, lines):
        found = _BANNER.search(line)
        if found is not None and found["host"] in hosts and found["port"] == str(endpoint.port):
            base = found["base"] or "/"
            return Address("https" if found["scheme"] == "https" else "http", base=base)
    return None


def matches(pattern: str, lines: Iterable[str]) -> bool:
    """Whether one of the lines has the regular expression in its first ``MATCHED`` characters."""
    compiled = re.compile(pattern)
    return any(compiled.search(plain(line[:MATCHED])) for line in lines)


def how_it_ended(code: int | None, signal: str | None) -> str:
    """``exit code 1`` or ``SIGKILL``."""
    return f"exit code {code}" if signal is None else signal
