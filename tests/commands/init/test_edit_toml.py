from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.commands.init.edit.toml import TomlShapeError, append_item, remove_member, set_member
from tests.commands.init.support import CARGO

CRATE = {"path": "../plugin"}

TAURI = """\
# the app
identifier = "dev.sidecar.test"

[build]
devUrl = "http://localhost:1420" # Vite
beforeDevCommand = "npm run dev"

[[app.windows]]
title = "test"

[bundle]
active = true
"""


def lines_added(before: str, after: str) -> list[str]:
    """Return the added lines; assert that none was removed."""
    rest = iter(after.splitlines())
    new: list[str] = []
    for line in before.splitlines():
        for each in rest:
            if each == line:
                break
            new.append(each)
        else:
            raise AssertionError(f"{line!r} is gone")
    return [*new, *rest]


def test_dependency_goes_below_the_last_one_and_above_the_next_table() -> None:
    after = set_member(CARGO, ("dependencies", "plug-in"), CRATE, inline=True)
    last = 'tauri = { version = "2", features = [] } # the framework\n'
    assert after == CARGO.replace(last, f'{last}plug-in = {{ path = "../plugin" }}\n')


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('[dependencies]\ntauri = "2"', '[dependencies]\ntauri = "2"\np = "1"\n'),
        ('[dependencies]\ntauri = "2" # c', '[dependencies]\ntauri = "2" # c\np = "1"\n'),
        ("[dependencies]\n", '[dependencies]\np = "1"\n'),
        ('dependencies = { tauri = "2" }\n', 'dependencies = { tauri = "2" , p = "1"}\n'),
        ('[dependencies.tauri]\nversion = "2"\n', '[dependencies]\np = "1"\n\n[dependencies.tauri]\nversion = "2"\n'),
    ],
)
def test_each_way_to_write_dependencies_takes_one_more(before: str, after: str) -> None:
    found = set_member(before, ("dependencies", "p"), "1", inline=True)
    assert tomllib.loads(found) == tomllib.loads(after)
    assert lines_added("" if before.startswith("dependencies =") else before, found)


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends_and_the_byte_order_mark_stay(bom: str, end: str) -> None:
    before = bom + CARGO.replace("\n", end)
    after = set_member(before, ("dependencies", "p"), "1")
    assert after == bom + set_member(CARGO, ("dependencies", "p"), "1").replace("\n", end)


def test_a_tauri_toml_is_changed_where_it_is_to_be_and_nowhere_else() -> None:
    after = remove_member(TAURI, ("build", "beforeDevCommand"))
    assert after == TAURI.replace('beforeDevCommand = "npm run dev"\n', "")
    after = append_item(after, ("bundle", "externalBin"), "binaries/sidecar")
    service = {"type": "vite", "root": "..", "port": {"preferred": 1420}}
    after = set_member(after, ("plugins", "sidecar", "services", "web"), service)
    after = set_member(after, ("plugins", "sidecar", "permissions"), ["core:default"])
    after = set_member(after, ("app", "windows", 0, "create"), value=False)
    assert lines_added(TAURI.replace('beforeDevCommand = "npm run dev"\n', ""), after) == [
        "create = false",
        'externalBin = ["binaries/sidecar"]',
        "",
        "[plugins.sidecar]",
        'permissions = ["core:default"]',
        "",
        "[plugins.sidecar.services.web]",
        'type = "vite"',
        'root = ".."',
        "port = { preferred = 1420 }",
    ]
    assert tomllib.loads(after)["plugins"]["sidecar"]["services"] == {"web": service}


def test_an_array_takes_one_more_item() -> None:
    before = '[bundle]\nexternalBin = [\n  "a", # first\n]\n'
    after = append_item(before, ("bundle", "externalBin"), "b")
    assert tomllib.loads(after)["bundle"]["externalBin"] == ["a", "b"]
    assert "# first" in after


def test_what_is_missing_is_not_removed() -> None:
    assert remove_member(TAURI, ("build", "x")) == TAURI
    assert remove_member(TAURI, ("x", "y")) == TAURI


def test_a_place_below_a_plain_value_is_refused() -> None:
    with pytest.raises(KeyError):
        set_member("a = 1\n", ("a", "b"), 1)
    with pytest.raises(KeyError):
        append_item("a = 1\n", ("a",), 1)


def test_a_file_that_tomlkit_would_put_in_another_order_is_refused() -> None:
    with pytest.raises(TomlShapeError):
        set_member("[[a]]\n[b]\n[[a]]\n", ("b", "c"), 1)


@given(st.lists(st.sampled_from(["# c", "", 'k{} = "v" # d', "  k{} = [1,\n 2]", "[t{}]", "[[a{}]]"]), max_size=8))
def test_a_new_key_leaves_every_line_of_any_file_as_it_is(kinds: list[str]) -> None:
    lines = [kind.format(number) for number, kind in enumerate(kinds)]
    before = "\n".join([*lines, "[dependencies]", *lines[:2]]).replace("[t0]", "").replace("[[a0]]", "")
    try:
        wanted = tomllib.loads(before)
    except tomllib.TOMLDecodeError:
        return  # a table may stand there only once
    try:
        after = set_member(before, ("dependencies", "new"), CRATE, inline=True)
    except TomlShapeError:
        return  # arrays of tables, parted by another table: tomlkit would bring them together
    wanted["dependencies"]["new"] = CRATE
    assert tomllib.loads(after) == wanted
    assert lines_added(before, after) in (['new = { path = "../plugin" }'], ["", 'new = { path = "../plugin" }'])


def test_a_key_below_a_plain_value_is_never_looked_for_in_its_text() -> None:
    """``in`` would match part of a string, and raise on a number."""
    for value in ('"xb"', "1", '["b"]'):
        text = f"a = {value}\n"
        assert remove_member(text, ("a", "b")) == text
        assert remove_member(text, ("a", "b", "c")) == text
        for edit in (set_member, append_item):
            with pytest.raises(KeyError):
                edit(text, ("a", "b", "c"), 1)


def test_a_key_never_lands_on_a_last_line_without_an_end() -> None:
    after = set_member("a.b = 1", ("c",), 1)
    assert tomllib.loads(after) == {"a": {"b": 1}, "c": 1}
