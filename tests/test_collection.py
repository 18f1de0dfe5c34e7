"""pytest imports every test module on every system, so a module for another system must skip itself first.

If a module imports something that the system lacks before it skips itself, the whole test run fails there.
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
"""Standard modules that a platform lacks."""


def collected(platform: str) -> Iterator[Path]:
    """Return the test modules and conftests that pytest imports on this platform."""
    conftests = list(ROOT.glob("tests/**/conftest.py"))
    yield from conftests
    left_out = {it.parent for it in conftests if leaves_out(it, platform)}
    for module in ROOT.glob("tests/**/test_*.py"):
        if left_out.isdisjoint(module.parents):
            yield module


def leaves_out(conftest: Path, platform: str) -> bool:
    """Return whether the conftest makes pytest ignore the tests beside it."""
    return any(
        isinstance(it, ast.Assign) and ast.unparse(it) == "collect_ignore_glob = ['test_*.py']"
        for it in executed(ast.parse(conftest.read_text(encoding="utf-8")).body, platform)
    )


def executed(statements: list[ast.stmt], platform: str) -> Iterator[ast.stmt]:
    """Yield the statements that an import executes on this platform."""
    for statement in statements:
        if isinstance(statement, ast.If):
            yield from executed(statement.body if holds(statement.test, platform) else statement.orelse, platform)
        else:
            yield statement


def holds(condition: ast.expr, platform: str) -> bool:
    """Return whether a condition on ``sys.platform`` is true. Any other condition counts as false."""
    match condition:
        case ast.Compare(left, [operator], [ast.Constant(str(other))]) if ast.unparse(left) == "sys.platform":
            return (platform == other) == isinstance(operator, ast.Eq)
    return False


def faults(path: Path, platform: str, seen: set[Path]) -> Iterator[str]:
    """Yield what would fail in an import of the module on this platform, including our modules that it imports."""
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
    """Return what would fail in one import statement; ``module`` may be a name inside a module."""
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
