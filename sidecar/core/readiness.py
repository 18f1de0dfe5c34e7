"""Judgements on what a program printed and how it ended: pure functions over text.

The patterns are what node, npm's world, Python and the C library print; a line counts whatever colours it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_IN_USE = re.compile(
    r"EADDRINUSE|address already in use|port \d+ is (?:already )?in use|only one usage of each socket", re.IGNORECASE
)
_NUMBER = re.compile(r"(?<![\d.])\d{2,5}(?![\d.])")
_HOPELESS = (
    (
        re.compile(r"failed to load config from|error when starting dev server|Build failed with|\[CONFIG"),
        "Vite could not read its configuration. Correct what the lines name and start again.",
    ),
    (
        re.compile(r"ERR_MODULE_NOT_FOUND|MODULE_NOT_FOUND|Cannot find (?:module|package)|ModuleNotFoundError"),
        "A module is missing. Install the project's packages (npm install) and start again.",
    ),
    (
        re.compile(
            r"CACError|[Uu]nknown option|bad option|unrecognized arguments|invalid option|"
            r"is not allowed in NODE_OPTIONS"
        ),
        "The program does not know one of its arguments. Correct the service's args and start again.",
    ),
    (re.compile(r"\bSyntaxError\b"), "The program has a syntax error. Correct it and start again."),
    (
        re.compile(r"requires? Node\.?js (?:version )?[\d^>=v]|Unsupported engine", re.IGNORECASE),
        "This node is too old for the program. Install the version that it names and start again.",
    ),
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


def hopeless(lines: Iterable[str], code: int | None) -> str | None:
    """Advice, where trying again cannot help; else ``None``. ``code`` is the exit code."""
    if code is None:
        return None  # by a signal: says nothing about the program
    text = "\n".join(map(plain, lines))
    for pattern, advice in _HOPELESS:
        if pattern.search(text):
            return advice
    return _NOT_RUNNABLE.get(code)


def matches(pattern: str, lines: Iterable[str]) -> bool:
    """Whether one of the lines has the regular expression in it."""
    compiled = re.compile(pattern)
    return any(compiled.search(plain(line)) for line in lines)


def how_it_ended(code: int | None, signal: str | None) -> str:
    """``exit code 1`` or ``SIGKILL``."""
    return f"exit code {code}" if signal is None else signal
