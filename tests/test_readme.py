"""The pages match the code: their tables, transcript and examples are compared with it."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from sidecar import cli
from sidecar.config.services import SERVICE_TYPES
from sidecar.config.wiring import parse_services
from sidecar.errors import ERROR_CODES
from sidecar.protocol.messages import NOTIFICATIONS, State
from sidecar.protocol.requests import METHODS
from sidecar.services.frameworks import TABLE, config_files
from sidecar.tauri.section import parse_section
from tests.commands.test_schema import validator

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "tauri-integration" / "docs"
PAGES = (
    ROOT / "README.md",
    ROOT / ".github" / "CONTRIBUTING.md",
    ROOT / ".github" / "SECURITY.md",
    ROOT / "tauri-integration" / "README.md",
    ROOT / "tauri-integration" / "CHANGELOG.md",
    *sorted(DOCS.glob("*.md")),
    ROOT / "sidecar" / "README.md",
    ROOT / "sidecar" / "host" / "README.md",
    ROOT / "tests" / "README.md",
    ROOT / "build" / "README.md",
)
NOT_OURS = ("ENOSPC", "Found another Vite", "version", "resource path", "failed to map", "decompression")
"""Messages of node, Vite, the C library, Cargo and PyInstaller."""
WORDS_COMPARED = 16
"""Shortest part of a message to compare. A shorter one could match by chance."""
README_LINES_MOST = 150
"""Most lines of the README, so that people read it to its end. Other pages have the details."""
COMMANDS = ("python3 build/dev.py demo", "python3 build/dev.py test")
"""The commands that the README gives to a newcomer with a checkout."""


def named(page: Path) -> str:
    """Return a page's name for pytest."""
    return page.relative_to(ROOT).as_posix()


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def section(page: Path, title: str) -> str:
    """Return the text from a heading to the next one of its level or above."""
    text = text_of(page)
    heading = re.search(rf"^(#+) {re.escape(title)}$\n", text, re.MULTILINE)
    assert heading, f"{named(page)} has no section {title!r}"
    rest = text[heading.end() :]
    end = re.search(rf"^#{{1,{len(heading[1])}}} ", rest, re.MULTILINE)
    return rest[: end.start()] if end else rest


def protocol(title: str) -> str:
    """Return a section of the protocol's page."""
    return section(DOCS / "protocol.md", title)


def table(text: str) -> list[list[str]]:
    """Return the cells of the first table, without its head."""
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
    """Return GitHub's anchors of the headings: lower case, hyphens for blanks, no punctuation, duplicates numbered."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
        found.add(next(name for n in count() if (name := f"{slug}-{n}" if n else slug) not in found))
    return found


def without_code(text: str) -> str:
    """Return the text without its code blocks, as a shell comment in a block is not a heading."""
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> list[str]:
    """Return the targets in this repository of the page's links and images."""
    targets = re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text(encoding="utf-8")))
    return [target for target in targets if "://" not in target]


def test_the_readme_is_one_short_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES_MOST


def test_the_readme_has_the_two_commands() -> None:
    assert set(COMMANDS) <= set(re.findall(r"^python3 build/dev\.py \w+", text_of(ROOT / "README.md"), re.MULTILINE))


def test_each_figure_of_the_readme_is_on_the_page_of_benchmarks() -> None:
    measured = text_of(DOCS / "benchmarks.md")
    figures = re.findall(r"\d[\d.,]* (?:ms|MB/s|MB)\b", section(ROOT / "README.md", "Beside others"))
    assert len(figures) > len(COMMANDS)
    assert [
        figure for figure in figures if not re.search(rf"(?<![\d.,]){re.escape(figure.split()[0])}\b", measured)
    ] == []


def linked(page: Path) -> set[Path]:
    """Return the pages that a page links to."""
    targets = ((page.parent / link.partition("#")[0]).resolve() for link in links(page))
    return {target for target in targets if target.suffix == ".md"}


def test_every_page_is_two_steps_from_the_readme_at_most() -> None:
    near = linked(ROOT / "README.md") | {ROOT / "README.md"}
    reached = near.union(*(linked(page) for page in near))
    assert {page.resolve() for page in PAGES} - reached == set()


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
        section = value.get("plugins", {}).get("sidecar") or (value if "services" in value else None)
        if section is not None:
            parse_services(parse_section(section).services, "$.services", "dev")


def source_text() -> str:
    """Return all string literals of the sidecar and the plugin. Adjacent ones are joined."""
    integration = ROOT / "tauri-integration"
    files = [
        *(ROOT / "sidecar").rglob("*.py"),
        *integration.glob("plugin*/src/*.rs"),
        *integration.glob("npm/bin/*.js"),
    ]
    text = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return re.sub(r"""["']\s*\n\s*f?["']|\\\n\s*""", "", text)


def test_the_headings_of_troubleshooting_are_what_the_code_says() -> None:
    headings = re.findall(r"^### (.*)$", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
    said = [message for heading in headings for message in re.findall(r"`+ ?([^`]+)`", heading)]
    source = source_text()
    # … and numbers stand for parts that differ
    missing = [
        part
        for message in said
        if not message.startswith(NOT_OURS)
        for part in re.split(r"…|\d+|'", message)
        if len(part) > WORDS_COMPARED and part.strip() not in source
    ]
    assert said
    assert missing == []


# ── the developers' page ──────────────────────────────────────────────────────────────────────────────────────────────


INSIDE = ROOT / "sidecar" / "README.md"
FILE_NAME = re.compile(r"(?:[\w.-]+/)*[\w.-]+\.(?:py|cjs|rs|ts|toml|spec|html|yml)")


@cache
def functions(file: Path) -> set[str]:
    """Return the names of a module's functions, of a method also as ``Class.method``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{it.name}" for it in node.body if isinstance(it, ast.FunctionDef)}
    return found


def unknown_functions(line: str) -> list[str]:
    """Return each ``name()`` on the line that no linked module defines. Without a link, search all modules."""
    linked = [INSIDE.parent / link for link in re.findall(r"\]\(([^)#]+\.py)\)", line)]
    modules = linked or [*INSIDE.parent.rglob("*.py")]
    return [name for name in re.findall(r"`([\w.]+)\(\)`", line) if not any(name in functions(it) for it in modules)]


def paragraphs(text: str) -> Iterator[str]:
    """Split into paragraphs, table rows and list items. A link counts within one of them."""
    return iter(re.split(r"\n(?=\s*(?:\d+\. |- |\|))|\n\s*\n", text))


def our_files() -> set[str]:
    """Return the paths of the project's files, without installed packages and build output."""
    found: set[str] = set()
    for top in ("sidecar", "build", "tests", "tauri-integration", ".github"):
        for folder, folders, names in os.walk(ROOT / top):
            folders[:] = [it for it in folders if it not in {"node_modules", "target", "__pycache__"}]
            found |= {(Path(folder) / name).relative_to(ROOT).as_posix() for name in names}
    return found


def test_the_functions_that_developers_are_told_of_exist() -> None:
    text = without_code(INSIDE.read_text(encoding="utf-8"))
    assert "()`" in text
    assert [name for it in paragraphs(text) for name in unknown_functions(it)] == []


def test_the_files_that_developers_are_told_of_exist() -> None:
    files = our_files()
    said = {it for it in quoted(without_code(INSIDE.read_text(encoding="utf-8"))) if FILE_NAME.fullmatch(it)}
    assert said
    assert [it for it in sorted(said) if not any(f"/{file}".endswith(f"/{it}") for file in files)] == []


def test_the_classes_and_constants_that_developers_are_told_of_exist() -> None:
    said = {
        it for it in quoted(without_code(INSIDE.read_text(encoding="utf-8"))) if re.fullmatch(r"[A-Z][A-Za-z_]{3,}", it)
    }
    modules = (ROOT / it for it in our_files() if it.endswith(".py") and it != "tests/test_readme.py")
    known = {word for it in modules for word in re.findall(r"[A-Z]\w{3,}", it.read_text(encoding="utf-8"))}
    assert said
    assert sorted(said - known) == []


def test_a_function_counts_only_in_a_module_that_its_line_links_to() -> None:
    assert unknown_functions("| it | [the guard](host/linux/guard.py) `split()`, `Guard.watch()` |") == []
    assert unknown_functions("| it | [the loop](runtime/loop.py) `split()`, `Runtime.watch()` |") == [
        "split",
        "Runtime.watch",
    ]
    assert unknown_functions("`no_such_function()`") == ["no_such_function"]


# ── the protocol ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_errors_are_those_of_the_code() -> None:
    found = re.findall(r"^### (\w+)\n\nCode \u2212(\d{5})\. ", text_of(DOCS / "errors.md"), re.MULTILINE)
    assert {-int(code): kind for kind, code in found} == ERROR_CODES
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
    assert [row[0].replace(" ", "") for row in table(text_of(DOCS / "exit-codes.md"))] == ours


# ── front ends ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_type_of_service_is_on_the_page_of_front_ends() -> None:
    said = set(quoted(section(DOCS / "front-ends.md", "Types")))
    assert set(SERVICE_TYPES) <= said


def test_the_front_ends_are_those_of_the_code() -> None:
    rows = table(section(DOCS / "front-ends.md", "Types"))
    said = {(quoted(row[1])[0], row[3], mark) for row in rows for mark in quoted(row[2])}
    configs = [(row, name if config_files(name) == (name,) else f"{name}.*") for row in TABLE for name in row.configs]
    packages = [(row, package) for row in TABLE for package in row.depends]
    ours = {(row.type, str(row.port), mark) for row, mark in (*configs, *packages)}
    assert said == ours
