"""A project's ``package.json``, its package manager, and the packages of its workspace."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from sidecar.files import FILE_BYTES_MOST, is_file, is_there, parse_json, read_head

RUN: dict[str, str] = {"npm": "npm run", "pnpm": "pnpm", "yarn": "yarn", "bun": "bun run", "deno": "deno task"}
"""Package manager → what a person types before a script's name."""

LOCKS: dict[str, str] = {
    "package-lock.json": "npm",
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
    "bun.lock": "bun",
    "bun.lockb": "bun",
    "deno.lock": "deno",
    "deno.json": "deno",
    "deno.jsonc": "deno",
}

APPS_MOST = 200
"""How many packages of a workspace we look at, and how many of its patterns we follow."""


def has_any(folder: str, names: Iterable[str]) -> bool:
    """Tell whether one of the files exists. We do not list the folder: it may have a million others."""
    return any(is_there(os.path.join(folder, name)) for name in names)


def find_manager(folder: str, package: Mapping[str, Any], command: str | None = None) -> str:
    """Find the package manager by the packageManager field, a lock file above, the command's first word; else npm."""
    named = str(package.get("packageManager", "")).partition("@")[0]
    if named in RUN:
        return named
    for place in upwards(os.path.abspath(folder)):
        for name, manager in LOCKS.items():
            if is_file(os.path.join(place, name)):
                return manager
        if is_there(os.path.join(place, ".git")):
            break  # above the repository nothing belongs to the project
    first = (command or "").split(" ", 1)[0]
    return first if first in RUN else "npm"


def upwards(folder: str) -> Iterator[str]:
    """Yield the folder, then each folder above it."""
    while True:
        yield folder
        above = os.path.dirname(folder)
        if above == folder:
            return
        folder = above


def workspace_patterns(folder: str, package: Mapping[str, Any]) -> list[str]:
    """Return the patterns of a workspace's members. pnpm has them in its own file, the others in package.json."""
    value = package.get("workspaces")
    value = value.get("packages") if isinstance(value, dict) else value
    patterns = [each for each in value if isinstance(each, str)] if isinstance(value, list) else []
    text = file_head(os.path.join(folder, "pnpm-workspace.yaml")).decode("utf-8", "replace").replace("\r\n", "\n")
    block = re.search(r"^packages:[ \t]*(?:#.*)?\n((?:[ \t]*(?:-.*|#.*)?\n?)+)", text, re.MULTILINE) if text else None
    for line in block[1].splitlines() if block else ():
        item = re.fullmatch(r"""\s*-\s*['"]?(.+?)['"]?\s*(?:#.*)?""", line)
        if item:
            patterns.append(item[1])
    return patterns


# ── files ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_package(folder: str) -> dict[str, Any]:
    """Read the folder's package.json; empty if there is none, or it cannot be read."""
    return _parse_package(folder)[0]


def package_fault(folder: str) -> str:
    """Say what is wrong with the folder's package.json; empty if nothing is wrong, or there is none."""
    return _parse_package(folder)[1]


def _parse_package(folder: str) -> tuple[dict[str, Any], str]:
    head = file_head(os.path.join(folder, "package.json"))
    if not head:
        return {}, ""
    try:
        value = parse_json(head.removeprefix(b"\xef\xbb\xbf"), object)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return {}, "it is too large" if len(head) == FILE_BYTES_MOST else str(error)
    return (value, "") if isinstance(value, dict) else ({}, "it is no object")


def file_head(path: str) -> bytes:
    """Return the first bytes of a file; none if it is no regular file."""
    return read_head(path, FILE_BYTES_MOST)


def table_of(package: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a table of package.json, such as ``scripts``; empty if it is missing or of another type."""
    value = package.get(name)
    return value if isinstance(value, dict) else {}


def dependencies(package: Mapping[str, Any]) -> set[str]:
    """Return the names of the package's dependencies, those for development included."""
    return {*table_of(package, "dependencies"), *table_of(package, "devDependencies")}
