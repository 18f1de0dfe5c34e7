"""Read the arguments of calls that start something: a program's words, variables and folder, or Vite's options.

If the text alone does not tell an argument, report that to the source's ``unclear``.
"""

from __future__ import annotations

from sidecar.commands.init import javascript as js
from sidecar.commands.init.javascript import HOLE, Tokens
from sidecar.commands.init.node_script.reading import Command
from sidecar.commands.init.node_script.source import Source

_IGNORED_OPTIONS = {
    *("shell", "stdio", "detached", "windowsHide", "encoding", "timeout", "signal", "uid", "gid", "maxBuffer"),
    *("preferLocal", "reject", "stdin", "stdout", "stderr", "windowsVerbatimArguments", "execArgv", "silent"),
}
_IGNORED_VITE = {"clearScreen", "customLogger", "logLevel"}


def read_command(source: Source, function: str, arguments: list[Tokens]) -> Command | None:
    """Return the program that a call of ``function`` starts; ``None`` if it is computed."""
    program = source.value(arguments[0]) if arguments else None
    if program is None or not program.strip() or program.startswith(HOLE):
        return None
    given = list(arguments[1:])
    words: list[str] | None = []
    if (
        given
        and given[0]
        and not (given[0][0].text == "{" or given[0][0].text in {"(", "function"} or js.is_arrow(given[0]))
    ):
        words = source.items(given.pop(0))
    if words is None:
        return None
    options = next((each for each in given if each and each[0].text == "{"), ())
    env, ports, cwd = _options(source, options)
    whole = " ".join([program, *words])
    line = function in {"exec", "execSync"} or (not words and " " in program)
    if function == "fork":
        return Command(("node", program, *words), None, env, ports, cwd)
    return Command((js.plain_name(program), *words), whole if line else None, env, ports, cwd)


def _options(source: Source, tokens: Tokens) -> tuple[dict[str, str], tuple[str, ...], str | None]:
    env: dict[str, str] = {}
    ports: tuple[str, ...] = ()
    cwd: str | None = None
    for key, value in source.members(tokens):
        if key == "env":
            env, ports = _env(source, value)
        elif key == "cwd":
            cwd = source.folder(value)
        elif key not in _IGNORED_OPTIONS:
            source.unclear(f"it starts a program with the option {key}")
    return env, ports, cwd


def _env(source: Source, tokens: Tokens) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the variables with their values, and the names of those that carry the port."""
    if js.texts(tokens) == ["process", ".", "env"]:
        return {}, ()
    if len(tokens) == 1 and (known := source.definition(tokens[0].text)):
        tokens = known
    env: dict[str, str] = {}
    ports: list[str] = []
    for key, value in source.members(tokens):
        if key == "..." and js.texts(value) == ["process", ".", "env"]:
            continue
        read_variable(source, key, value, env, ports)
    return env, tuple(ports)


def read_variable(source: Source, name: str, value: Tokens, env: dict[str, str], ports: list[str]) -> None:
    """Add a variable to ``env``, or its name to ``ports`` if it carries the port."""
    text = source.value(value)
    if text is not None and HOLE not in text:
        env[name] = text
    elif "PORT" in name.upper():
        ports.append(name)
    elif name != "TAURI_DEV_HOST":
        source.unclear(f"it computes the variable {name}")


def vite_words(source: Source, options: Tokens) -> list[str]:
    """Return the arguments of the ``vite`` command that does the same as ``createServer(options)``."""
    words: list[str] = []
    for key, value in source.members(options):
        text = source.value(value)
        if key in {"mode", "configFile"} and text and HOLE not in text:
            words += ["--mode" if key == "mode" else "--config", text]
        elif key == "root" and (folder := source.folder(value)) is not None:
            words += [folder] if folder != "." else []
        elif key == "server":
            words += _server_words(source, value)
        elif key not in _IGNORED_VITE:
            source.unclear(f"it makes Vite's server with the option {key}")
    return words


def _server_words(source: Source, options: Tokens) -> list[str]:
    words: list[str] = []
    for key, value in source.members(options):
        text = source.value(value)
        if key == "port" and text and text.isdecimal():
            words += ["--port", text]
        elif key == "host" and js.texts(value) != ["false"]:
            words.append("--host")
        elif key not in {"port", "host", "strictPort", "open"}:
            source.unclear(f"it makes Vite's server with the option server.{key}")
    return words
