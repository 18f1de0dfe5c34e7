"""The front end's side of a project: its package manager, and what its ``beforeDevCommand`` does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, field

Manager = Literal["npm", "pnpm", "yarn", "bun", "deno"]

LOCKS: dict[str, Manager] = {
    "package-lock.json": "npm",
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
    "bun.lock": "bun",
    "bun.lockb": "bun",
    "deno.lock": "deno",
    "deno.json": "deno",
    "deno.jsonc": "deno",
}
VITE_CONFIGS = tuple(f"vite.config.{suffix}" for suffix in ("ts", "js", "mts", "mjs", "cts", "cjs"))

SCRIPTS_DEEP = 5
"""A script that runs a script that runs ...: no project goes further, but one may go round in circles."""

_RUN: dict[str, str] = {"npm": "npm run", "pnpm": "pnpm", "yarn": "yarn", "bun": "bun run", "deno": "deno task"}
_RUNNERS = {
    ("npm", "run"): True,
    ("npm", "run-script"): True,
    ("pnpm", "run"): True,
    ("yarn", "run"): True,
    ("bun", "run"): True,
    ("deno", "task"): True,
    ("pnpm",): True,
    ("yarn",): True,
    ("npx",): False,
    ("npm", "exec"): False,
    ("pnpm", "exec"): False,
    ("pnpm", "dlx"): False,
}
"""How a script of package.json (or, where false, a package's program) is run; the longer one is tried first."""

_OPERATORS = re.compile(r"[;&|<>`\n]|\$\(")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_VALUE_FLAGS = {
    *("--port", "--mode", "-m", "--config", "-c"),
    *("--base", "-l", "--logLevel", "-f", "--filter", "--clearScreen"),
}
_OURS = {"--strictPort", "--open"}
"""The sidecar passes the first by itself; the page is opened by the app."""

Unknown = Literal["other", "mixed"]


class ViteStart(Struct):
    """How a command starts Vite, and nothing else."""

    root: str = "."
    mode: str | None = None
    config: str | None = None
    port: int | None = None
    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    host: bool = False
    """Whether it asked for an address to listen on."""


def find_manager(folder: Path, package: Mapping[str, Any], command: str | None) -> Manager:
    """By the packageManager field, the nearest lock file, or the command's first word; else npm."""
    named = str(package.get("packageManager", "")).partition("@")[0]
    if named in _RUN:
        return named  # type: ignore[return-value]
    for place in (folder, *folder.absolute().parents):
        for name, manager in LOCKS.items():
            if (place / name).is_file():
                return manager
        if (place / ".git").exists():
            break  # above the repository nothing belongs to the project
    first = (command or "").split(" ", 1)[0]
    return first if first in _RUN else "npm"  # type: ignore[return-value]


def run_words(manager: Manager, script: str) -> str:
    """What a person types to run a script."""
    return f"{_RUN[manager]} {script}"


def has_vite(folder: Path, package: Mapping[str, Any]) -> bool:
    """Whether it is a Vite project."""
    wanted = [package.get(kind) for kind in ("dependencies", "devDependencies")]
    return any(isinstance(names, dict) and "vite" in names for names in wanted) or any(
        (folder / name).is_file() for name in VITE_CONFIGS
    )


def understand(command: str, scripts: Mapping[str, Any]) -> ViteStart | Unknown:
    """What a command does: starts Vite, something without Vite (``other``), or Vite in a way that is not understood."""
    return _understand(command, scripts, ViteStart(), SCRIPTS_DEEP)


def _understand(command: str, scripts: Mapping[str, Any], start: ViteStart, deep: int) -> ViteStart | Unknown:
    unknown: Unknown = "mixed" if _mentions_vite(command, scripts, deep) else "other"
    if deep == 0 or _OPERATORS.search(command):
        return unknown
    try:
        words = shlex.split(command)
    except ValueError:
        return unknown  # a quote is never closed: the shell would not run it either
    if words[:1] == ["cross-env"]:
        words = words[1:]
    while words and (given := _ASSIGNMENT.fullmatch(words[0])):
        start.env[given[1]] = given[2]
        words = words[1:]
    if any("$" in word or "%" in word for word in words):
        return unknown  # a shell would fill them in
    if words[:1] == ["vite"]:
        return start if _take_flags(words[1:], start) else "mixed"
    if words[:2] == ["npm", "start"]:
        words = ["npm", "run", *words[1:]]
    for length in (2, 1):
        runner = _RUNNERS.get(tuple(words[:length]))
        rest = words[length:]
        if runner is None or not rest:
            continue
        script = scripts.get(rest[0]) if runner else None
        if isinstance(script, str):
            if any(f"{when}{rest[0]}" in scripts for when in ("pre", "post")):
                return unknown
            arguments = rest[2:] if rest[1:2] == ["--"] else rest[1:]
            return _understand(" ".join([script, *map(shlex.quote, arguments)]), scripts, start, deep - 1)
        if rest[0] == "vite":
            return _understand(shlex.join(rest), scripts, start, deep - 1)
    return unknown


def _mentions_vite(command: str, scripts: Mapping[str, Any], deep: int) -> bool:
    """Whether Vite may be in it, in any way: as a word of its own, or in a script that it names."""
    words = set(re.findall(r"[\w:./@-]+", command))
    if any(word == "vite" or word.endswith(("/vite", ":vite", "/vite.js")) for word in words):
        return True
    named = [scripts[word] for word in words if isinstance(scripts.get(word), str)]
    return deep > 0 and any(_mentions_vite(script, scripts, deep - 1) for script in named)


def _take_flags(words: list[str], start: ViteStart) -> bool:
    """Vite's own arguments; whether all of them are understood."""
    if words[:1] in (["dev"], ["serve"]):
        words = words[1:]
    elif words[:1] and words[0] in {"build", "preview", "optimize"}:
        return False
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("-"):
            if start.root != ".":
                return False
            start.root = word
            continue
        if not equals and name in _VALUE_FLAGS:
            if not rest:
                return False
            value = rest.pop(0)
        if name == "--host":
            start.host = True
            if not equals and rest and not rest[0].startswith("-"):
                rest.pop(0)
        elif name == "--port":
            if not value.isdecimal():
                return False
            start.port = int(value)
        elif name in {"--mode", "-m"}:
            start.mode = value
        elif name in {"--config", "-c"}:
            start.config = value
        elif name in _OURS:
            pass
        elif name in _VALUE_FLAGS and not equals:
            start.args += [name, value]
        else:
            start.args.append(word)
    return True
