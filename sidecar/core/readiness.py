"""Judge what a program has printed and how it ended. Pure functions over text.

The patterns match the output of node, of npm packages, of Python and of the C library. Colours in a line do not matter.
The patterns are plain texts: ``re`` compiles each on first use, so the sidecar's start pays for none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sidecar.config.groups import python_pattern
from sidecar.core.events import Address, Endpoint

MATCHED = 2_048
"""How many characters of a line are compared with a pattern. If that backtracks, its time grows with a power of this.

``re`` keeps the interpreter's lock meanwhile, so the whole process would wait. So the patterns below take time in
proportion to the line's length: none has a repetition that starts again at each word of a line.
"""

# not terminal.ansi: core may not import it, and it shows invisible marks as escapes, which no pattern would match
_ANSI = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])"
_IN_USE = r"(?i)EADDRINUSE|address already in use|port \d+ is (?:already )?in use|only one usage of each socket"
_NUMBER = r"(?<![\d.])\d{2,5}(?![\d.])"
# (?>…) is never tried again; else the search would go from each ENOSPC of a line to the line's end
_WATCHES = (
    r"(?m)ENOSPC: System limit for number of file watchers reached|inotify watch limit reached|"
    r"^(?>.*?ENOSPC\b)(?:.*\bwatch\b)"
)
_WATCHERS = r"(?m)inotify instance limit reached|^(?>.*?EMFILE\b)(?:.*\bwatch\b)"
_LOCK = r"Found another Vite (?:\w+) process for this project(?: at (\S+))? \(PID (\d+)\)"
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
        r"failed to load config from",
        "Vite could not load its configuration. Correct what the lines name and start again.",
    ),
    (
        r"Cannot find (?:module|package) '(?:\.{0,2}/|[A-Za-z]:[\\/]|file:)",
        "A file that the program asks for is not there. Correct the path that the lines name and start again.",
    ),
    (
        r"ERR_MODULE_NOT_FOUND|MODULE_NOT_FOUND|Cannot find (?:module|package)",
        "A module is missing. Install the project's packages (npm install) and start again.",
    ),
    (
        r"ModuleNotFoundError",
        "A Python module is missing. Install it where this Python finds it (pip install, uv sync) and start again.",
    ),
    (
        (
            r"CACError|[Uu]nknown option|bad option|unrecognized arguments|invalid option|"
            r"is not allowed in NODE_OPTIONS"
        ),
        "The program does not know one of its arguments. Correct the service's args and start again.",
    ),
    (
        # not an error about JSON: that is about data, and these may be right the next time
        r"(?m)^[ \t]*(?:\[?(?:\w+\.)?)SyntaxError(?!.*\bJSON\b)",
        "Its last lines report a syntax error. Correct it and start again.",
    ),
    (
        r"(?i)requires? Node\.?js (?:version )?[\d^>=v]|Unsupported engine",
        "The program asks for another version of node. Install the one that its lines name and start again.",
    ),
)
_BANNER = r"\b(?:Local|Network)\b[^\w/]*(?P<scheme>https?)://(?P<host>\[[0-9a-f:]+\]|[\w.-]+):(?P<port>\d+)(?P<base>/[^\s?#]*)?"
_NOT_RUNNABLE = {
    126: "The program was found but may not be run. Check its permissions.",
    127: "The shell found no such program. Check the service's command.",
}


def plain(text: str) -> str:
    """Return the text without ANSI escape sequences."""
    return re.sub(_ANSI, "", text) if "\x1b" in text else text


def port_is_taken(lines: Iterable[str], port: int) -> bool:
    """Tell whether the program said that ``port`` is in use. A line that names only other ports does not count."""
    for line in map(_begin, lines):
        if re.search(_IN_USE, line):
            numbers = {int(number) for number in re.findall(_NUMBER, re.sub(r"\[?Errno \d+\]?", "", line))}
            if not numbers or port in numbers:
                return True
    return False


def out_of_watches(lines: Iterable[str]) -> bool:
    """Tell whether the program said that the system lets it watch no more files."""
    return any(re.search(_WATCHES, line) or re.search(_WATCHERS, line) for line in map(_begin, lines))


def hopeless(lines: Iterable[str], code: int | None) -> str | None:
    """Return advice if another try cannot help; else ``None``. ``code`` is the exit code."""
    if code is None:
        return None  # a signal says nothing about the program
    text = "\n".join(map(_begin, lines))
    if lock := re.search(_LOCK, text):
        place = f" at {lock[1]}" if lock[1] else ""
        return (
            f"Another Vite of this project runs already{place} (pid {lock[2]}), and this version of Vite starts no "
            "second one. Use that one, or end it; 'sidecar ps' shows it if a sidecar has started it. To have both, "
            'give Vite the argument "--bypass-lock".'
        )
    for pattern, advice in _HOPELESS:
        if re.search(pattern, text):
            return advice
    return _NOT_RUNNABLE.get(code)


def told_address(lines: Iterable[str], endpoint: Endpoint) -> Address | None:
    """Return the address that a dev server has printed after "Local" or "Network", if it is that of ``endpoint``."""
    hosts = {endpoint.host, "localhost", "127.0.0.1", "[::1]"}
    for line in map(_begin, lines):
        found = re.search(_BANNER, line)
        if found is not None and found["host"] in hosts and found["port"] == str(endpoint.port):
            base = found["base"] or "/"
            return Address("https" if found["scheme"] == "https" else "http", base=base)
    return None


def matches(pattern: str, lines: Iterable[str]) -> dict[str, str] | None:
    """Look for the regular expression in the first ``MATCHED`` characters of each line.

    Return the named groups of the first line that matches, without unused groups; ``None`` if no line matches.
    """
    compiled = re.compile(python_pattern(pattern))
    found = next(filter(None, (compiled.search(_begin(line)) for line in lines)), None)
    return None if found is None else {name: text for name, text in found.groupdict().items() if text is not None}


def _begin(line: str) -> str:
    """Return the part of a line that is compared with a pattern."""
    return plain(line[:MATCHED])


def how_it_ended(code: int | None, signal: str | None) -> str:
    """Describe a run's end, such as ``exit code 1`` or ``SIGKILL``."""
    return f"exit code {code}" if signal is None else signal
