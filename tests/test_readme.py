"""What the pages promise is what the code does: their tables, transcript and examples are held to the code's own."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from msgspec import NODEFAULT, Struct

from sidecar import cli
from sidecar.config import (
    BackoffConfig,
    HealthConfig,
    PortConfig,
    RestartConfig,
    Service,
    StopConfig,
    parse_services,
)
from sidecar.errors import ERROR_CODES
from sidecar.launch import VITE_PORT
from sidecar.services.frameworks import TABLE, config_files
from sidecar.tauri.section import parse_section
from sidecar.wire.messages import METHODS, NOTIFICATIONS, State
from tests.test_schema import validator

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "tauri-integration" / "docs"
PAGES = (
    ROOT / "README.md",
    ROOT / "tauri-integration" / "README.md",
    *sorted(DOCS.glob("*.md")),
    ROOT / "sidecar" / "README.md",
    ROOT / "sidecar" / "host" / "README.md",
    ROOT / "tests" / "README.md",
)
NOT_OURS = ("ENOSPC", "Found another Vite", "version", "resource path")
"""Messages of node, Vite, the C library and Cargo."""
WORDS_COMPARED = 16
"""A shorter part of a message proves nothing."""
README_LINES_MOST = 200
"""One page that is read to its end; all else has a page of its own."""


def named(page: Path) -> str:
    """A page as pytest shows it."""
    return page.relative_to(ROOT).as_posix()


def section(page: Path, title: str) -> str:
    """From a heading to the next one of its rank or above."""
    text = page.read_text(encoding="utf-8")
    heading = re.search(rf"^(#+) {re.escape(title)}$\n", text, re.MULTILINE)
    assert heading, f"{named(page)} has no section {title!r}"
    rest = text[heading.end() :]
    end = re.search(rf"^#{{1,{len(heading[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def protocol(title: str) -> str:
    """A section of the protocol's page."""
    return section(DOCS / "protocol.md", title)


def table(text: str) -> list[list[str]]:
    """The cells of the first table, without its head."""
    rows = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert rows, "there is no table"
    return [
        [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", row.strip("|"))]
        for row in rows[0].splitlines()[2:]
    ]


def quoted(text: str) -> list[str]:
    return re.findall(r"`([^`]*)`", text)


# ── the pages ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings: lower case, hyphens for blanks, no punctuation, numbered twins."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
        found.add(next(name for n in count() if (name := f"{slug}-{n}" if n else slug) not in found))
    return found


def without_code(text: str) -> str:
    """The text without its blocks of code: a comment in a shell's block is no heading."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """The targets of the page's links and images that lie in this repository."""
    targets = re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8")))
    return [target for target in targets if "://" not in target]


def test_the_readme_is_one_short_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES_MOST


def test_every_page_is_reached_from_the_readme() -> None:
    reached = {(ROOT / link.partition("#")[0]).resolve() for link in links(ROOT / "README.md")}
    assert {page.resolve() for page in PAGES} <= reached | {ROOT / "README.md"}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_to_a_file_and_an_anchor(page: Path) -> None:
    wrong = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            wrong.append(link)
    assert wrong == []


def test_the_anchors_of_headings_are_githubs() -> None:
    text = "# `doctor --prove`\n## Ports\n## Ports\n### `port 5173 is taken by …; using …`\n```\n# no heading\n```\n"
    assert anchors(text) == {"doctor---prove", "ports", "ports-1", "port-5173-is-taken-by--using-"}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_configuration_on_a_page_is_accepted(page: Path) -> None:
    for block in re.findall(r"^ *```json\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        value = json.loads(block if block.lstrip().startswith("{") else f"{{{block.strip().rstrip(',')}}}")
        if "plugins" in value:
            parse_services(parse_section(value["plugins"]["sidecar"]).services, "$.plugins.sidecar.services")


def source_text() -> str:
    """The literal texts of the sidecar and the plugin, with those joined that only a line's length keeps apart."""
    files = [*(ROOT / "sidecar").rglob("*.py"), *(ROOT / "tauri-integration" / "plugin" / "src").glob("*.rs")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return re.sub(r"""["']\s*\n\s*f?["']|\\\n\s*""", "", text)


def test_the_headings_of_troubleshooting_are_what_the_code_says() -> None:
    headings = re.findall(r"^### (.*)$", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
    said = [message for heading in headings for message in re.findall(r"`+ ?([^`]+)`", heading)]
    source = source_text()
    # … stands for what differs, and so does a number
    missing = [
        part
        for message in said
        if not message.startswith(NOT_OURS)
        for part in re.split(r"…|\d+|'", message)
        if len(part) > WORDS_COMPARED and part.strip() not in source
    ]
    assert said
    assert missing == []


# ── the protocol ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_errors_are_those_of_the_code() -> None:
    found = re.findall(r"[\u2212-](\d{5})\W+(\w+)`", protocol("Errors"))
    assert {-int(code): kind for code, kind in found} == ERROR_CODES
    assert len(found) == len(ERROR_CODES), "each once"


def test_the_methods_are_those_of_the_code_with_all_their_params() -> None:
    rows = table(protocol("Requests"))
    assert [quoted(row[0])[0] for row in rows] == list(METHODS)
    for row, shape in zip(rows, METHODS.values(), strict=True):
        words = set(re.findall(r"\w+", row[1]))
        assert words >= {field.encode_name for field in msgspec.structs.fields(shape)}, row


def test_the_notifications_are_those_of_the_code() -> None:
    rows = table(protocol("Notifications"))
    assert {quoted(row[0])[0].partition(" ")[0] for row in rows} == {kind.method for kind in NOTIFICATIONS}


def test_the_members_of_a_notification_that_are_named_exist() -> None:
    shapes = {kind.method: kind for kind in NOTIFICATIONS}
    for method, members in re.findall(r"`((?:service|supervisor)/\w+)\s+\{([^}]*)\}`", protocol("Notifications")):
        names = {field.encode_name for field in msgspec.structs.fields(shapes[method])}
        assert set(re.findall(r"\w+", members)) <= names, method


def test_the_states_are_those_of_the_code() -> None:
    found = re.search(r"^States: (.*?)\.$", protocol("States"), re.MULTILINE | re.DOTALL)
    assert found
    assert quoted(found[1]) == list(get_args(State))


def test_every_line_of_the_transcript_is_in_the_schema() -> None:
    said = re.findall(r"^([→←]) (\{.*\})$", protocol("A conversation"), re.MULTILINE)
    assert len(said) > 10
    for arrow, line in said:
        name = "ClientMessage" if arrow == "→" else "ServerMessage"
        validator(name, closed=arrow == "←").validate(json.loads(line))


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    ours = re.findall(r"^ {2}(N|\d+(?:\+N)?) ", cli.EXIT_CODES, re.MULTILINE)
    assert [row[0].replace(" ", "") for row in table(protocol("Exit codes"))] == ours


# ── the configuration ─────────────────────────────────────────────────────────────────────────────────────────────────


NESTED: tuple[type[Struct], ...] = (PortConfig, HealthConfig, RestartConfig, BackoffConfig, StopConfig)
SERVICES: tuple[type[Struct], ...] = get_args(Service)


def fields(shape: type[Struct], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each field's name as it is written, with its default."""
    for field in msgspec.structs.fields(shape):
        inner = next((kind for kind in (field.type, *get_args(field.type)) if kind in NESTED), None)
        if inner is not None:
            yield from fields(inner, f"{prefix}{field.encode_name}.")
        else:
            default = field.default if field.default_factory is NODEFAULT else field.default_factory()
            yield prefix + field.encode_name, default


def documented() -> dict[str, str]:
    """Each field's name in the table, with what stands for its default."""
    found: dict[str, str] = {}
    for row in table(section(DOCS / "configuration.md", "Configuration of a service")):
        names = quoted(row[0])
        # in a row that begins with restart.limit, .windowMs is restart.windowMs
        home = names[0].rpartition(".")[0]
        names = [f"{home}{name}" if name.startswith(".") else name for name in names]
        defaults = [text.strip().strip("`") for text in row[1].split(",")]
        assert len(defaults) in (1, len(names)), row
        found |= dict(zip(names, defaults * len(names) if len(defaults) == 1 else defaults, strict=False))
    return found


def test_every_field_of_a_service_is_in_the_table_and_nothing_else_is() -> None:
    ours = {name for shape in SERVICES for name, _ in fields(shape)}
    assert set(documented()) == ours | {"type"}


def test_every_type_of_service_is_on_the_page_of_front_ends() -> None:
    said = set(quoted(section(DOCS / "front-ends.md", "Types")))
    assert {str(shape.__struct_config__.tag) for shape in SERVICES} <= said


def test_the_front_ends_are_those_of_the_code() -> None:
    rows = table(section(DOCS / "front-ends.md", "Types"))
    said = {(quoted(row[1])[0], row[3], mark) for row in rows for mark in quoted(row[2])}
    configs = [(row, name if config_files(name) == (name,) else f"{name}.*") for row in TABLE for name in row.configs]
    packages = [(row, package) for row in TABLE for package in row.depends]
    ours = {(row.type, str(row.port), mark) for row, mark in (*configs, *packages)}
    assert said == ours


@pytest.mark.parametrize("shape", SERVICES, ids=lambda shape: str(shape.__struct_config__.tag))
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
