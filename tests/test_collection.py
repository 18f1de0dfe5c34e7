"""pytest imports every test module on every system; those that are not for it leave themselves out first.

One that needs another system's module before that ends the whole run there, with nothing tried.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

_WINDOWS = frozenset({"_winapi", "msvcrt", "winreg", "winsound"})
ABSENT = {
    "linux": _WINDOWS,
    "darwin": _WINDOWS,
    "win32": frozenset({"curses", "fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}),
}
"""Modules of Python's own that are not there."""


def collected(platform: str) -> Iterator[Path]:
    """The test modules and conftests that pytest imports there."""
    conftests = list(ROOT.glob("tests/**/conftest.py"))
    yield from conftests
    left_out = {it.parent for it in conftests if leaves_out(it, platform)}
    for module in ROOT.glob("tests/**/test_*.py"):
        if left_out.isdisjoint(module.parents):
            yield module


def leaves_out(conftest: Path, platform: str) -> bool:
    """Whether it has pytest ignore the tests beside it."""
    return any(
        isinstance(it, ast.Assign) and ast.unparse(it) == "collect_ignore_glob = ['test_*.py']"
        for it in executed(ast.parse(conftest.read_text(encoding="utf-8")).body, platform)
    )


def executed(statements: list[ast.stmt], platform: str) -> Iterator[ast.stmt]:
    """The statements that a module's import comes to, as far as the platform tells; of others' ``if`` the ``else``."""
    for statement in statements:
        if isinstance(statement, ast.If):
            yield from executed(statement.body if holds(statement.test, platform) else statement.orelse, platform)
        else:
            yield statement


def holds(condition: ast.expr, platform: str) -> bool:
    """Whether a condition on ``sys.platform`` does; any other does not."""
    match condition:
        case ast.Compare(left, [operator], [ast.Constant(str(other))]) if ast.unparse(left) == "sys.platform":
            return (platform == other) == isinstance(operator, ast.Eq)
    return False


def faults(path: Path, platform: str, seen: set[Path]) -> Iterator[str]:
    """What would fail when it is imported there, with whatever of ours it imports."""
    if path in seen:
        return
    seen.add(path)
    name = path.relative_to(ROOT).as_posix()
    for statement in executed(ast.parse(path.read_text(encoding="utf-8")).body, platform):
        match statement:
            case ast.Expr(ast.Call(function)) if ast.unparse(function) == "pytest.skip":
                return
            case ast.Raise():
                yield f"{name}: {ast.unparse(statement)}"
            case ast.Assert(test) if "sys.platform" in ast.unparse(test) and not holds(test, platform):
                yield f"{name}: {ast.unparse(statement)}"
            case ast.Import(names):
                for it in names:
                    yield from missing(it.name, name, platform, seen)
            case ast.ImportFrom(str(module), names):
                for it in names:
                    yield from missing(f"{module}.{it.name}", name, platform, seen)


def missing(module: str, importer: str, platform: str, seen: set[Path]) -> Iterator[str]:
    """The same of an import; ``module`` may be a name in one."""
    words = module.split(".")
    if words[0] in ABSENT[platform]:
        yield f"{importer}: import {words[0]}"
    if words[0] in {"tests", "sidecar"}:
        for count in range(1, len(words) + 1):
            place = ROOT.joinpath(*words[:count])
            for file in (place.with_suffix(".py"), place / "__init__.py"):
                if file.exists():
                    yield from faults(file, platform, seen)


@pytest.mark.parametrize("platform", ABSENT)
def test_no_module_needs_what_is_not_there_before_it_has_left_itself_out(platform: str) -> None:
    seen: set[Path] = set()
    assert [fault for path in collected(platform) for fault in faults(path, platform, seen)] == []
