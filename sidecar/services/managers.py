"""Find node in the folders of version managers and package managers.

The search reads files and starts no program. A manager's own command would be slower, and may go to the network.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from msgspec import Struct

from sidecar.files import is_there, read_head, read_json, unkept
from sidecar.host.programs import MANAGERS, Manager, expand, runs

TEXT_MOST = 1 << 16
"""How much we read of a file. A version file has a line or two, a manager's configuration a few more."""

WISH_MOST = 64
"""Messages show this many characters of the version that a project asks for."""

ALIASES_DEEP = 8
"""How many of nvm's aliases we follow. Its own need three steps; a circle would have no end."""

WISHES = (".nvmrc", ".node-version", ".tool-versions", "mise.toml", ".mise.toml", "package.json")
"""The files in which a project asks for a version. Within one folder the first one counts."""

_FULL = re.compile(r"v?(\d{1,9})\.(\d{1,9})\.(\d{1,9})")
_IN_PATH = re.compile(r"(?<![\d.])(\d{1,9})\.(\d{1,9})\.(\d{1,9})(?![\d.])")
_TERM = re.compile(r"(>=|<=|>|<|=|\^|~)?v?(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?(?:\.[xX*])*")
_ALIAS = re.compile(r"[\w*-][\w*.-]*(?:/[\w*-][\w*.-]*)?")
_LTS = re.compile(r"lts(?:[/-](?:\*|-\d+|([a-z]+)))?")
# [ \t], not \s: a hostile file of empty lines would take time that grows with the square of its size
_MISE = re.compile(
    r"""^[ \t]*(?:node|nodejs|"node")[ \t]*=[ \t[]*(?:\{[ \t]*version[ \t]*=[ \t]*)?["']([^"']+)["']""", re.MULTILINE
)
_TOOL = re.compile(r"^[ \t]*node(?:js)?[ \t]+([^\s#]+)", re.MULTILINE)

_FIRST_LTS = 4
_CODENAMES = (
    *("argon", "boron", "carbon", "dubnium", "erbium", "fermium"),
    *("gallium", "hydrogen", "iron", "jod", "krypton", "lithium"),
)
"""The names of long-term releases: 4, 6, 8 and so on."""

Version = tuple[int, int, int]
_Fits = Callable[[Version], bool]


class Managed(Struct, frozen=True):
    """The node that a manager has for the project."""

    program: str
    why: str
    """Why this one, for people."""
    problem: str = ""
    """The version that the project asks for and does not get, for people."""


class _Install(Struct, frozen=True):
    """A node in a manager's folder."""

    program: str
    manager: str
    version: Version | None


# ── version managers ──────────────────────────────────────────────────────────────────────────────────────────────────


def find_managed(root: str) -> Managed | None:
    """Find the version that the project asks for, else the one that a manager uses, else a manager's shim."""
    asked = _wish_of(root)
    with unkept():
        return _managed(asked)


def _managed(asked: tuple[str, str] | None) -> Managed | None:
    found = [(it, place, _installs(it, place)) for it in MANAGERS for place in expand(it.roots)]
    every = [each for _, _, installs in found for each in installs]
    problem = ""
    if asked is not None:
        file, wish = asked
        fits = _meaning(wish) or next(
            (fits for it, place, _ in found if it.name == "nvm" and (fits := _meaning(_nvm_alias(place, wish)))), None
        )
        if fits is not None and (best := _newest([it for it in every if it.version and fits(it.version)])):
            return Managed(best.program, f"the one of {best.manager} that {file} asks for ({wish}), not on PATH")
        shown = wish if wish.isprintable() else ascii(wish)
        problem = f"{file} asks for {shown}, which " + ("is not installed" if fits else "is not a known version")
        if (best := _newest([it for it in every if it.version])) is not None:
            return Managed(best.program, f"the newest of {best.manager}, not on PATH", problem=problem)
    return _in_use(found, problem) or _shim(found, problem)


def _in_use(found: list[tuple[Manager, str, list[_Install]]], problem: str) -> Managed | None:
    """Find the default of the first manager that has any node."""
    put_off: Managed | None = None
    for manager, place, installs in found:
        active = os.path.join(place, manager.active) if manager.active else ""
        if active and installs and runs(active):
            return Managed(active, f"the default of {manager.name}, not on PATH", problem=problem)
        newest = _newest(installs)
        if newest is None:
            continue
        default = _DEFAULTS[manager.name](place) if manager.name in _DEFAULTS else ""
        fits = _meaning(default)
        if fits is not None and (best := _newest([it for it in installs if it.version and fits(it.version)])):
            return Managed(best.program, f"the default of {manager.name}, not on PATH", problem=problem)
        taken = Managed(newest.program, f"the newest of {manager.name}, not on PATH", problem=problem)
        if default != "system":
            return taken
        put_off = put_off or taken  # the default is the system's node: perhaps another manager has that
    return put_off


def _shim(found: list[tuple[Manager, str, list[_Install]]], problem: str) -> Managed | None:
    for manager, place, _ in found:
        if manager.shim and runs(shim := os.path.join(place, manager.shim)):
            return Managed(shim, f"the shim of {manager.name}, not on PATH", problem=problem)
    return None


def shim_of(program: str) -> str | None:
    """Return the manager if ``program`` is its shim. A shim chooses the version by the folder that it is started in."""
    shims = ((it.name, os.path.join(place, it.shim)) for it in MANAGERS if it.shim for place in expand(it.roots))
    return next((name for name, shim in shims if os.path.normpath(shim) == os.path.normpath(program)), None)


def _installs(manager: Manager, root: str) -> list[_Install]:
    """List the nodes that the manager has in ``root``."""
    if not manager.versions:
        program = os.path.join(root, manager.active)
        return [_Install(program, manager.name, _version_of("", program))] if runs(program) else []
    head, _, tail = manager.versions.partition("*")
    folder, prefix = os.path.split(os.path.join(root, head))
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []  # this manager is not in use here
    found = []
    for name in names:
        program = os.path.join(folder, name) + tail
        if name.startswith(prefix) and runs(program):
            found.append(_Install(program, manager.name, _version_of(name, program)))
    return found


def _version_of(name: str, program: str) -> Version | None:
    """Read the version from the folder's name, else from the path behind the links."""
    full = _FULL.fullmatch(name)
    for found in [full] if full else _IN_PATH.finditer(os.path.realpath(program)):
        full = found  # the last one in the path counts
    return (int(full[1]), int(full[2]), int(full[3])) if full else None


def _newest(installs: list[_Install]) -> _Install | None:
    """Return the newest one; if several are equal, the first of them."""
    return max(installs, key=lambda it: it.version or (0, 0, 0), default=None)


def _nvm_default(root: str) -> str:
    return _nvm_alias(root, "default")


def _nvm_alias(root: str, name: str) -> str:
    """Follow an alias to the version that it means; empty if there is none."""
    for _ in range(ALIASES_DEEP):
        if not _ALIAS.fullmatch(name):
            return ""  # the name may come from a project's file, and must not lead to a file elsewhere
        name = _line(os.path.join(root, "alias", name))
        if _meaning(name) is not None or name in {"", "system"}:
            return name
    return ""


def _nodenv_default(root: str) -> str:
    return _line(os.path.join(root, "version"))


def _asdf_default(_root: str) -> str:
    return _tool_version(os.path.expanduser("~/.tool-versions"))


def _mise_default(_root: str) -> str:
    base = os.environ.get("MISE_CONFIG_DIR") or os.path.join(
        os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "mise"
    )
    return _mise_version(os.path.join(base, "config.toml"))


class _Runtime(Struct):
    runtime: str = ""


class _VoltaPlatform(Struct):
    node: _Runtime | None = None


def _volta_default(root: str) -> str:
    platform = read_json(os.path.join(root, "tools", "user", "platform.json"), _VoltaPlatform)
    return platform.node.runtime if platform and platform.node else ""


_DEFAULTS: dict[str, Callable[[str], str]] = {
    "nvm": _nvm_default,
    "nodenv": _nodenv_default,
    "asdf": _asdf_default,
    "mise": _mise_default,
    "volta": _volta_default,
}
"""How to read a manager's default version, from its root or from the user's configuration."""


# ── what is asked for ─────────────────────────────────────────────────────────────────────────────────────────────────


def _wish_of(root: str) -> tuple[str, str] | None:
    """Find the nearest version file, up to the repository's root: its name, and what it asks for."""
    folder = root
    while True:
        for name in WISHES:
            path = os.path.join(folder, name)
            if wish := _READERS.get(name, _line)(path):
                return name, wish[:WISH_MOST]
        above = os.path.dirname(folder)
        if above == folder or is_there(os.path.join(folder, ".git")):
            return None
        folder = above


def _meaning(wish: str) -> _Fits | None:
    """Turn a wish such as ``20``, ``lts/*`` or ``>=20 <23`` into a test; ``None`` if it is not understood."""
    wish = wish.strip().lower()
    if wish in {"node", "stable", "latest", "current", "*"}:
        return lambda _version: True
    if (lts := _LTS.fullmatch(wish)) is not None:
        return _of_lts(lts[1])
    choices = [re.sub(r"([<>=^~])\s+", r"\1", choice).split() for choice in wish.split("||")]
    terms = [[_TERM.fullmatch(term) for term in choice] for choice in choices]
    if not all(choice and all(choice) for choice in terms):
        return None
    return lambda version: any(all(_holds(term, version) for term in choice) for choice in terms)


def _of_lts(name: str | None) -> _Fits | None:
    if name is None:
        return lambda version: version[0] >= _FIRST_LTS and version[0] % 2 == 0
    if name not in _CODENAMES:
        return None
    major = _FIRST_LTS + 2 * _CODENAMES.index(name)
    return lambda version: version[0] == major


def _holds(term: re.Match[str] | None, version: Version) -> bool:
    """Test a version against one term, such as ``>=20.19``."""
    if term is None:
        return False
    wanted = tuple(int(part) for part in term.group(2, 3, 4) if part is not None)
    head = version[: len(wanted)]
    match term[1]:
        case ">=":
            return head >= wanted
        case ">":
            return head > wanted
        case "<=":
            return head <= wanted
        case "<":
            return head < wanted
        case "^":
            return head >= wanted and head[0] == wanted[0]
        case "~":
            return head >= wanted and head[:2] == wanted[:2]
        case _:
            return head == wanted


def _line(path: str) -> str:
    """Return the first line with text, without its comment."""
    lines = (line.partition("#")[0].strip() for line in _text(path).splitlines())
    return next((line for line in lines if line), "")


def _tool_version(path: str) -> str:
    wanted = _TOOL.search(_text(path))
    return wanted[1] if wanted else ""


def _mise_version(path: str) -> str:
    wanted = _MISE.search(_text(path))
    return wanted[1] if wanted else ""


class _Pin(Struct):
    node: str = ""


class _Package(Struct):
    """The field that volta writes into a package.json."""

    volta: _Pin | None = None


def _volta_pin(path: str) -> str:
    package = read_json(path, _Package)
    return package.volta.node if package and package.volta else ""


_READERS: dict[str, Callable[[str], str]] = {
    ".tool-versions": _tool_version,
    "mise.toml": _mise_version,
    ".mise.toml": _mise_version,
    "package.json": _volta_pin,
}
"""Readers for those files of ``WISHES`` that do not have the version in their first line."""


def _text(path: str) -> str:
    return read_head(path, TEXT_MOST).decode("utf-8", "replace")
