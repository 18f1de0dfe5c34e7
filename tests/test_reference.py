"""The generated reference pages are up to date with the code: see build/reference.py."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
import pytest
from msgspec import NODEFAULT, Struct

from build import pictures, reference
from sidecar.cli import make_parser
from sidecar.config.services import (
    SERVICE_TYPES,
    BackoffConfig,
    HealthConfig,
    LogFileConfig,
    PortConfig,
    RestartConfig,
    StopConfig,
)

AGAIN = "renew it with: python3 build/dev.py docs --write"
NESTED: tuple[type[Struct], ...] = (
    PortConfig,
    HealthConfig,
    RestartConfig,
    BackoffConfig,
    StopConfig,
    LogFileConfig,
)


@pytest.mark.parametrize("name", reference.PAGES)
def test_a_page_of_the_reference_is_what_the_code_says(name: str) -> None:
    assert (reference.DOCS / name).read_text(encoding="utf-8") == reference.PAGES[name](), AGAIN


@pytest.mark.parametrize("name", pictures.DRAWINGS)
def test_a_picture_is_what_its_script_draws(name: str) -> None:
    assert (pictures.PICTURES / name).read_text(encoding="utf-8") == pictures.DRAWINGS[name](), AGAIN


def test_a_field_without_words_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    text = reference.WORDS.read_text(encoding="utf-8")
    words = tmp_path / "fields.toml"
    words.write_text(re.sub(r"^sticky = .*\n", "", text, flags=re.MULTILINE), encoding="utf-8")
    monkeypatch.setattr(reference, "WORDS", words)
    with pytest.raises(ValueError, match=r"port: .* differ in .*sticky"):
        reference.fields_page()


def test_words_without_a_field_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    text = reference.WORDS.read_text(encoding="utf-8")
    words = tmp_path / "fields.toml"
    words.write_text(text.replace("[task]\n", '[task]\nspeed = "how fast"\n'), encoding="utf-8")
    monkeypatch.setattr(reference, "WORDS", words)
    with pytest.raises(ValueError, match=r"task: .* differ in .*speed"):
        reference.fields_page()


# ── the page of fields, compared with the code's own structs ──────────────────────────────────────────────────────────


def tables() -> dict[str, dict[str, str]]:
    """Return for each heading of the page the fields of its table, with the text of their defaults."""
    found: dict[str, dict[str, str]] = {}
    for title, text in re.findall(r"^##+ (.*)\n((?:(?!^#).*\n?)*)", reference.fields_page(), re.MULTILINE):
        rows = re.findall(r"^\| (?:\*\*)?`(\w+)`(?:\*\*)? \| .*? \| (?:`(.*?)`)? \| ", text, re.MULTILINE)
        found[title] = dict(rows)
    return found


def fields(shape: type[Struct], prefix: str) -> Iterator[tuple[str, str, Any]]:
    """Yield each field's table, name and default."""
    for field in msgspec.structs.fields(shape):
        default = field.default if field.default_factory is NODEFAULT else field.default_factory()
        inner = next((kind for kind in (field.type, *get_args(field.type)) if kind in NESTED), None)
        yield prefix, field.encode_name, default
        if inner is not None:
            title = field.encode_name if prefix != "restart" else f"{prefix}.{field.encode_name}"
            yield from fields(inner, title)


@pytest.mark.parametrize("name", SERVICE_TYPES)
def test_the_page_of_fields_has_each_field_of_a_type_with_its_default(name: str) -> None:
    page = tables()
    mine = {**page["Every service"], **page.get(name, {})}
    if name not in {"command", "task"}:
        mine |= page["Dev servers"]
    for title, field, default in fields(SERVICE_TYPES[name], ""):
        said = page[title][field] if title else mine[field]
        if default is NODEFAULT or default is None:
            assert said == "", (title, field)
        elif isinstance(default, Struct):
            assert said == "{}", (title, field)
        else:
            assert json.loads(said) == default, (title, field)


def test_the_page_of_options_has_each_command_and_each_option() -> None:
    page = reference.options_page()
    parser = make_parser()
    [commands] = (each for each in parser._actions if isinstance(each.choices, dict))
    assert isinstance(commands.choices, dict)
    for name, command in commands.choices.items():
        text = page.partition(f"\n## sidecar {name}\n")[2].partition("\n## ")[0]
        assert text, name
        options = {option for action in command._actions for option in action.option_strings}
        common = {"-h", "--help", "--parent-pid", "--log-level"}
        assert {option for option in options - common if f"`{option}" not in text} == set(), name
