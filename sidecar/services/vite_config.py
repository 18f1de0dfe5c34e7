"""Read ``server.port`` and ``server.strictPort`` from a vite.config, without running it.

A configuration is a program. We believe only a literal in the object that it exports. We split the text into tokens, so
comments, strings and regular expressions are not mistaken for code. An object counts only if nothing stands around it
but ``export default``, ``module.exports``, ``defineConfig``, ``mergeConfig`` or functions, because a plugin's options
may have their own ``server``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from msgspec import Struct

_GRAMMAR = r"""
      (?P<space>\s+|//[^\n]*|/\*.*?\*/)
    | (?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)
    | (?P<number>\d[\w.]*)
    | (?P<name>[A-Za-z_$][\w$]*)
    | (?P<mark>=>|\.\.\.|.)
    """
_REGEX = r"/(?:\\.|\[(?:\\.|[^\]\\\n]){0,100}+\]|[^/\\\n\[]){1,2000}+/\w*"
"""Bounded: without an end, each slash would cost a search to the end of its line."""
_NUMBER = r"[1-9](?:_?[0-9]){0,4}"

_BEFORE_REGEX = {*"(,=:[!&|?{};+-*%<>~^", "=>", "return", "typeof", "case", ""}
"""After one of these a slash begins a regular expression. After anything else it divides."""

_AROUND = {"defineConfig", "mergeConfig", "defineViteConfig"}
BYTES_MOST = 64 << 10
LINE_MOST = 4_000
"""The limits of what we parse. People write configurations of a few kilobytes, with short lines. A service's start
waits for the parser, and its time to find the end of a string grows with the square of the line's length."""

PLACES_MOST = 16
"""How often ``server`` may occur in a configuration that we parse. A usual one has it once or twice."""

PORT_VARIABLE = "VITE_DEV_PORT"
"""The variable that tells Vite's configuration the port, if it wants to know it."""

_DECLARES = {"const", "let", "var"}
_OPEN, _CLOSE = {"{", "[", "("}, {"}", "]", ")"}
_PORT_MOST = 65_535


class ServerPort(Struct, frozen=True):
    """What a vite.config says about the port."""

    port: int | None = None
    strict: bool = False
    passed_over: bool = False
    """Whether it says something about the port that we could learn only by running it."""


def read_server_port(text: str) -> ServerPort:
    """Find the port in the configuration ``text``."""
    if "server" not in text:
        return ServerPort()  # as in most configurations: then no expression need be compiled
    if len(text) > BYTES_MOST or max(map(len, text.split("\n"))) > LINE_MOST:
        return ServerPort(passed_over=True)
    tokens = list(_tokens(text))
    places = [at for at, token in enumerate(tokens) if token.strip("'\"") == "server"]
    if len(places) > PLACES_MOST:
        return ServerPort(passed_over=True)
    found = [_read(tokens, at + 1) for at in places if _is_key(tokens, at) and _is_exported(tokens, at)]
    said = list(dict.fromkeys(each for each in found if each != ServerPort()))
    if len(said) > 1 or any(each.passed_over for each in said):
        return ServerPort(passed_over=True)
    return said[0] if said else ServerPort()


def _tokens(text: str) -> Iterator[str]:
    # compiled here, not while we start; re keeps them
    token, regex = re.compile(_GRAMMAR, re.VERBOSE | re.DOTALL), re.compile(_REGEX)
    at, last = 0, ""
    while at < len(text):
        found = regex.match(text, at) if last in _BEFORE_REGEX and text[at : at + 2] not in {"//", "/*"} else None
        found = found or token.match(text, at)
        if found is None or found[0] == "`" or (found[0] == "/" and text.startswith("/*", at)):
            return  # the end of the text; or a comment or string without an end, which hides the rest
        at = found.end()
        if found.lastgroup != "space":
            last = found[0]
            yield last


def _is_key(tokens: list[str], at: int) -> bool:
    """Tell whether the token is a member of an object: ``server:``, or ``server`` alone."""
    after = tokens[at + 1] if at + 1 < len(tokens) else ""
    return tokens[at - 1] in {"{", ","} and after in {":", ",", "}"} and at > 0


def _is_exported(tokens: list[str], at: int) -> bool:
    """Tell whether the object around the token is the configuration itself."""
    deep, own = 0, True
    for around in range(at - 1, -1, -1):
        mark = tokens[around]
        if mark in _CLOSE:
            deep += 1
        elif mark in _OPEN and deep:
            deep -= 1
        elif mark in _OPEN:
            before = tokens[around - 1] if around else ""
            if mark == "{" and own:
                good = before in {"(", ",", "default", "return", ">"} or (
                    before == "=" and _is_exported_name(tokens, around)
                )
            elif mark == "{":
                good = before in {")", "=>", "else", "try"}  # a function's body
            else:
                good = mark == "(" and before in {"=>", "return", "=", ">", "default", *_AROUND}
            if not good:
                return False
            own = False
    return not own


def _is_exported_name(tokens: list[str], at: int) -> bool:
    """Tell whether the object at ``at`` is assigned to a name that is exported, or passed to a function."""
    begin = max((here for here in range(at) if tokens[here] in _DECLARES), default=at - 2)
    if tokens[at - 2] == "exports":
        return True
    name = tokens[begin + 1]
    pairs = pairwise(tokens)
    return any(word == name and before in {"default", "return", "(", "=", ","} for before, word in pairs)


def _heeds_us(tokens: list[str], at: int) -> bool:
    """Tell whether the value of the member at ``at`` uses the variable by which we tell Vite its port."""
    end = next((here for here in range(at, len(tokens)) if tokens[here] in {",", "}"}), len(tokens))
    return any(PORT_VARIABLE in token for token in tokens[at:end])


def _read(tokens: list[str], at: int) -> ServerPort:
    """Read the port from the value after the colon at ``at``."""
    if tokens[at : at + 2] != [":", "{"]:
        return ServerPort(passed_over=True)
    port, strict, passed_over, deep = None, False, False, 0
    for here in range(at + 1, len(tokens)):
        mark = tokens[here]
        if mark in _OPEN:
            deep += 1
        elif mark in _CLOSE:
            deep -= 1
            if deep == 0:
                break
        elif deep == 1 and tokens[here - 1] in {"{", ","}:
            name = mark.strip("'\"")
            value = tokens[here + 2] if tokens[here + 1 : here + 2] == [":"] else ""
            ends = tokens[here + 3 : here + 4] in (["}"], [","])
            if name == "port":
                literal = ends and re.fullmatch(_NUMBER, value) and int(value.replace("_", "")) <= _PORT_MOST
                port = int(value.replace("_", "")) if literal else None
                passed_over = not literal and not _heeds_us(tokens, here)
            elif name == "strictPort":
                strict = ends and value == "true"
            elif mark == "...":
                passed_over = True
    return ServerPort(passed_over=True) if passed_over else ServerPort(port, strict and port is not None)
