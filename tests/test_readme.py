"""What the README promises is what the code does: its tables and its transcript are held to the code's own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec import NODEFAULT, Struct

from sidecar import cli
from sidecar.config import (
    BackoffConfig,
    CommandService,
    HealthConfig,
    PortConfig,
    RestartConfig,
    StopConfig,
    ViteService,
)
from sidecar.errors import ERROR_CODES
from sidecar.launch import VITE_PORT
from sidecar.wire.messages import METHODS, NOTIFICATIONS, State
from tests.test_schema import validator

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """From a heading to the next one of its rank or above."""
    heading = re.search(rf"^(#+) {re.escape(title)}.*\n", README, re.MULTILINE)
    assert heading, f"there is no section {title!r}"
    rest = README[heading.end() :]
    end = re.search(rf"^#{{1,{len(heading[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def table(text: str) -> list[list[str]]:
    """The cells of the first table, without its head."""
    rows = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert rows, "there is no table"
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[0].splitlines()[2:]]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]*)`", text)


# ── the protocol ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_errors_are_those_of_the_code() -> None:
    named = re.findall(r"[\u2212-](\d{5})\W+(\w+)`", section("Errors"))
    assert {-int(code): kind for code, kind in named} == ERROR_CODES
    assert len(named) == len(ERROR_CODES), "each once"


def test_the_methods_are_those_of_the_code_with_all_their_params() -> None:
    rows = table(section("Requests"))
    assert [quoted(row[0])[0] for row in rows] == list(METHODS)
    for row, shape in zip(rows, METHODS.values(), strict=True):
        words = set(re.findall(r"\w+", row[1]))
        assert words >= {field.encode_name for field in msgspec.structs.fields(shape)}, row


def test_the_notifications_are_those_of_the_code() -> None:
    named = set(re.findall(r"`((?:service|supervisor)/\w+)", section("Requests")))
    assert named == {kind.method for kind in NOTIFICATIONS}


def test_the_members_of_a_notification_that_are_named_exist() -> None:
    shapes = {kind.method: kind for kind in NOTIFICATIONS}
    for method, members in re.findall(r"`((?:service|supervisor)/\w+)\s+\{([^}]*)\}`", section("Requests")):
        names = {field.encode_name for field in msgspec.structs.fields(shapes[method])}
        assert set(re.findall(r"\w+", members)) <= names, method


def test_the_states_are_those_of_the_code() -> None:
    named = re.search(r"^States: (.*?)\.$", section("Requests"), re.MULTILINE | re.DOTALL)
    assert named
    assert quoted(named[1]) == list(get_args(State))


def test_every_line_of_the_transcript_is_in_the_schema() -> None:
    said = re.findall(r"^([→←]) (\{.*\})$", section("From an app"), re.MULTILINE)
    assert len(said) > 10
    for arrow, line in said:
        name = "ClientMessage" if arrow == "→" else "ServerMessage"
        validator(name, closed=arrow == "←").validate(json.loads(line))


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    first = section("Exit codes").strip().split("\n\n")[0]
    named = re.findall(r"(?:^|[,;] )\s*(\d+(?: \+ N)?) ", re.sub(r"\s+", " ", re.sub(r"\([^)]*\)", "()", first)))
    ours = re.findall(r"^ +(\d+(?:\+N)?) ", cli.EXIT_CODES, re.MULTILINE)
    assert sorted(code.replace(" ", "") for code in named) == sorted(ours)


# ── the configuration ─────────────────────────────────────────────────────────────────────────────────────────────────


NESTED: dict[str, type[Struct]] = {
    "port": PortConfig,
    "health": HealthConfig,
    "restart": RestartConfig,
    "backoff": BackoffConfig,
    "stop": StopConfig,
}


def fields(shape: type[Struct], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each field's name as it is written, with its default."""
    for field in msgspec.structs.fields(shape):
        inner = NESTED.get(field.name)
        if inner is not None:
            yield from fields(inner, f"{prefix}{field.encode_name}.")
        else:
            default = field.default if field.default_factory is NODEFAULT else field.default_factory()
            yield prefix + field.encode_name, default


def documented() -> dict[str, str]:
    """Each field's name in the table, with what stands for its default."""
    found: dict[str, str] = {}
    for row in table(section("Configuration of a service")):
        names = quoted(row[0])
        # in a row that begins with restart.limit, .windowMs is restart.windowMs
        home = names[0].rpartition(".")[0]
        names = [f"{home}{name}" if name.startswith(".") else name for name in names]
        defaults = [text.strip().strip("`") for text in row[1].split(",")]
        assert len(defaults) in (1, len(names)), row
        found |= dict(zip(names, defaults * len(names) if len(defaults) == 1 else defaults, strict=False))
    return found


def test_every_field_of_a_service_is_in_the_table_and_nothing_else_is() -> None:
    ours = {name for shape in (ViteService, CommandService) for name, _ in fields(shape)}
    assert set(documented()) == ours | {"type"}


@pytest.mark.parametrize("shape", [ViteService, CommandService], ids=["vite", "command"])
def test_the_defaults_in_the_table_are_those_of_the_code(shape: type[Struct]) -> None:
    table_says = documented()
    for name, default in fields(shape):
        said = table_says[name]
        if name == "port.preferred":
            assert said == f"vite: {VITE_PORT}"
        elif default is NODEFAULT or default is None or default == []:
            assert said == "" or said.startswith("none"), name
        elif isinstance(default, bool):
            assert said == str(default).lower(), name
        elif isinstance(default, int | float):
            assert float(said) == default, name
        else:
            assert said == (default if isinstance(default, str) else json.dumps(default)), name
