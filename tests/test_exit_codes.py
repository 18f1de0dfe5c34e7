"""Exit codes come from one table. --help and the page of exit codes repeat it."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import sidecar
from sidecar import cli, exit_codes

SOURCE = Path(sidecar.__file__).parent
TABLE = Path(exit_codes.__file__)
CODES = {name: code for name, code in vars(exit_codes).items() if name.startswith("EXIT_")}
NO_ROW_OF_THEIR_OWN = {"EXIT_INTERRUPTED"}
"""Codes that the row for signals already covers."""


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def test_help_lists_each_code_of_the_table_and_no_other() -> None:
    said = re.findall(r"^ {2}(\d+)(\+N)? ", cli.EXIT_CODES, re.MULTILINE)
    ours = [(str(code), "") for name, code in CODES.items() if name not in NO_ROW_OF_THEIR_OWN | {"EXIT_SIGNALLED"}]
    assert sorted(said) == sorted([*ours, (str(exit_codes.EXIT_SIGNALLED), "+N")])
    assert f"({exit_codes.EXIT_INTERRUPTED}: Ctrl-C)" in cli.EXIT_CODES


def test_no_code_has_two_names() -> None:
    assert len(set(CODES.values())) == len(CODES)


def test_each_code_has_a_docstring() -> None:
    body = parse(TABLE).body
    told = [
        one.targets[0].id
        for one, after in pairwise(body)
        if isinstance(one, ast.Assign)
        and isinstance(one.targets[0], ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    ]
    assert told == list(CODES)


def test_the_table_imports_nothing() -> None:
    """The guard imports it before it forks."""
    imports = [it for it in ast.walk(parse(TABLE)) if isinstance(it, ast.Import | ast.ImportFrom)]
    assert [it.module for it in imports if isinstance(it, ast.ImportFrom)] == ["__future__"]
    assert len(imports) == 1


def test_no_other_module_has_a_number_of_its_own() -> None:
    own = [
        f"{path.relative_to(SOURCE)}: {target.id}"
        for path in SOURCE.rglob("*.py")
        if path != TABLE
        for it in ast.walk(parse(path))
        if isinstance(it, ast.Assign) and isinstance(it.value, ast.Constant) and isinstance(it.value.value, int)
        for target in it.targets
        if isinstance(target, ast.Name) and target.id.startswith("EXIT_")
    ]
    assert own == []
