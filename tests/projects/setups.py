"""Set-ups: a project's files, how the sidecar is started on it, and the expected results.

A folder with a ``setup.toml`` is one. The other files in it are the project: it is copied for the run, gets
``index.html`` and ``package.json`` unless it has its own, and the shared npm packages as its ``node_modules``.
``[variants.NAME]`` replaces fields of the set-up, and adds to its files: the same kind with another example.

The ``steps`` are done in order; each names what it waits for or does, and ``Steps`` in case.py has all of them.
In every text ``{folder}`` is the project's folder, ``{python}`` a Python, ``{free}`` and ``{free2}`` are free ports,
``{pid}`` is our own process, and ``{port}`` in a step is the port that the sidecar reported. Regular expressions are
searched, not matched.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, structs

PROJECTS = Path(__file__).resolve().parent

Step = dict[str, Any]
Way = Literal["stdio", "json", "pipe", "terminal", "command"]
"""``stdio`` is the protocol, as an app speaks it; ``json``, ``pipe`` and ``terminal`` are ``sidecar dev``: with
``--json``, in a pipe, in a terminal; ``command`` is any other command of the sidecar."""


class Setup(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One set-up."""

    what: str
    """The kind of project."""
    expect: str
    """What its owner expects."""
    way: Way = "stdio"
    services: dict[str, dict[str, Any]] = {}
    """``stdio``: started by the client."""
    words: list[str] = []
    """``sidecar dev``: its options, and a program after ``--``."""
    sequential: list[str] = []
    """``stdio``: the services, in the order of their starts. Each is started when the one before it is ready."""
    prefix: list[str] = []
    """Words before the sidecar's command line. Such a set-up may need root."""
    script: str | None = None
    """``sidecar dev``: a shell script in which ``"$@"`` starts it, in place of ``words``."""
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    """More files of the project. A file without text is not written."""
    wrappers: list[str] = []
    """Paths for a wrapper of node, which writes its path into ``node-used``."""
    vite: str = "vite"
    """The name of the project's Vite among the shared packages; empty: no Vite."""
    page: bool = True
    """Whether it gets an ``index.html``."""
    node_modules: str = "."
    """Where the project has its packages."""
    desktop: bool = False
    """Whether PATH is a desktop's, without any node."""
    busy: bool = False
    """Whether another program has the port ``{free}``."""
    rich: bool = False
    """Whether it checks output that only rich draws, which the frozen binary lacks."""
    frozen: bool = True
    """Whether it also runs with the frozen binary. The ``test`` job does so only with a folder's first set-up."""
    long: bool = False
    """Whether only ``build/dev.py projects`` runs it, as it is slow or similar to another."""
    wait_s: float = 20.0
    """How long to wait for each expected event, in seconds."""
    framework: str | None = None
    """The folder below ``frameworks`` with its own packages. Only ``build/dev.py projects`` runs it."""
    steps: list[Step]


def load() -> dict[str, tuple[Setup, Path]]:
    """Return all set-ups by name, each with its folder."""
    found: dict[str, tuple[Setup, Path]] = {}
    for file in sorted(PROJECTS.glob("**/setup.toml")):
        if "node_modules" in file.parts:
            continue
        table = tomllib.loads(file.read_text(encoding="utf-8"))
        variants = table.pop("variants", {})
        name = file.parent.name
        first = convert(table, name)
        found[name] = first, file.parent
        for key, fields in variants.items():
            files = {**table.get("files", {}), **fields.pop("files", {})}
            found[f"{name}-{key}"] = convert({**table, **fields, "files": files}, f"{name}-{key}"), file.parent
    return found


def convert(table: dict[str, Any], name: str) -> Setup:
    """Make a set-up of its fields. Raises ``ValueError``, which names it."""
    try:
        return msgspec.convert(table, Setup)
    except msgspec.ValidationError as error:
        raise ValueError(f"{name}: {error}") from None


def fill(value: Any, names: dict[str, str]) -> Any:
    """Fill in ``names`` in all texts of ``value``. A text that is only the name of a port becomes a number."""
    match value:
        case str():
            if value in {"{free}", "{free2}"}:
                return int(names[value[1:-1]])
            for name, text in names.items():
                value = value.replace(f"{{{name}}}", text)
            return value
        case list():
            return [fill(each, names) for each in value]
        case dict():
            return {key: fill(each, names) for key, each in value.items()}
    return value


def shortened(setup: Setup, wait_s: float) -> Setup:
    """Return the set-up with a shorter wait."""
    return structs.replace(setup, wait_s=wait_s)
