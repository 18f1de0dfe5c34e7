"""Read an ``envFile``: lines of ``NAME=value`` with quotes and comments. No value is interpolated or shown."""

from __future__ import annotations

import re

from sidecar.errors import ConfigurationError
from sidecar.files import FILE_BYTES_MOST, read_regular

_BLANK = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?(?P<name>[^\s=#'\"]+)[ \t]*=[ \t]*")
_QUOTED = re.compile(r"'(?P<single>[^']*)'|\"(?P<double>(?:[^\"\\]|\\.)*)\"", re.DOTALL)
_PLAIN = re.compile(r"[^\n]*")
_COMMENT = re.compile(r"(?:^|[ \t])#.*")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def read_env_file(name: str, path: str) -> dict[str, str]:
    """Read the variables of a service's file. A later line wins over an earlier one.

    Raises ``ConfigurationError``, which names the line but never its value.
    """
    try:
        data = read_regular(path, FILE_BYTES_MOST + 1)
    except FileNotFoundError:
        raise _unreadable(name, path, "it does not exist") from None
    except OSError as error:
        # EACCES, EISDIR, a pipe or a device: the user has to name another file
        raise _unreadable(name, path, error.strerror or str(error)) from None
    if len(data) > FILE_BYTES_MOST:
        raise _unreadable(name, path, f"it is larger than {FILE_BYTES_MOST} bytes")
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise _unreadable(name, path, f"it is not UTF-8 in line {line}") from None
    return _parse(name, path, text)


def _parse(name: str, path: str, text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        line = text.count("\n", 0, at) + 1
        if blank := _BLANK.match(text, at):
            at = blank.end()
            continue
        head = _NAME.match(text, at)
        if head is None:
            raise _unreadable(name, path, f"line {line} is no NAME=value")
        value, at = _value(text, head.end())
        if value is None or "\0" in value or "\0" in head["name"]:
            raise _unreadable(name, path, f"the value of {head['name']!r} in line {line} is not understood")
        found[head["name"]] = value
    return found


def _value(text: str, at: int) -> tuple[str | None, int]:
    """Return the value that begins at ``at``, and where the next line begins; ``None`` for a quote without its end."""
    if text[at : at + 1] not in {"'", '"'}:
        plain = _PLAIN.match(text, at)
        end = at if plain is None else plain.end()
        return _COMMENT.sub("", text[at:end]).strip(), end + 1
    quoted = _QUOTED.match(text, at)
    rest = None if quoted is None else _BLANK.match(text, quoted.end())
    if quoted is None or rest is None:
        return None, at
    if quoted["single"] is not None:
        return quoted["single"], rest.end()
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), quoted["double"]), rest.end()


def _unreadable(name: str, path: str, reason: str) -> ConfigurationError:
    problem = f"{name}: {path} cannot be read: {reason}."
    return ConfigurationError(problem, "Correct that file, or envFile.", service=name, path=path)
