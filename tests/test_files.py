"""A project's files are read only if they are regular files, and only up to a bound."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from sidecar.errors import ConfigurationError
from sidecar.files import (
    ENTRIES_MOST,
    files_below,
    find_below,
    is_file,
    is_there,
    kept_in,
    leads_out,
    list_folder,
    parse_json,
    read_regular,
)
from sidecar.services import looking
from sidecar.services.launch import find_vite
from sidecar.services.looking import home_of, looking_at
from sidecar.services.node import on_path
from sidecar.services.package_json import read_package
from sidecar.tauri.project import TauriConfigError, parse_file, read_text

needs_links = pytest.mark.skipif(sys.platform == "win32", reason="on Windows a plain user cannot create links")


def test_only_the_head_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a\r\nb" * 9)
    assert read_regular(tmp_path / "file", 4) == b"a\r\nb"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        read_regular(tmp_path, 1)


def test_a_pipe_in_place_of_a_manifest_stops_nobody(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("Windows has no FIFOs in folders")
    os.mkfifo(tmp_path / "package.json")
    vite = tmp_path / "node_modules" / "vite"
    vite.mkdir(parents=True)
    os.mkfifo(vite / "package.json")
    assert read_package(str(tmp_path)) == {}
    assert find_vite(str(tmp_path)) is None
    with pytest.raises(TauriConfigError, match="cannot be read: it is not a regular file"):
        read_text(tmp_path / "package.json")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="Windows has no /dev/zero")
def test_an_endless_manifest_is_not_read(tmp_path: Path) -> None:
    vite = tmp_path / "node_modules" / "vite"
    vite.mkdir(parents=True)
    (vite / "package.json").symlink_to("/dev/zero")
    assert find_vite(str(tmp_path)) is None


DEEP = b"[" * 100_000 + b"]" * 100_000


def test_json_that_is_nested_too_deeply_is_no_json() -> None:
    with pytest.raises(msgspec.DecodeError, match="nested too deeply"):
        parse_json(b'{"x": ' + DEEP + b"}", dict)


def linked(folder: Path) -> Path:
    """Make a project with links of each kind, and their targets outside it."""
    home, outside = folder / "home", folder / "outside"
    (home / "below").mkdir(parents=True)
    outside.mkdir()
    (home / "file").write_text("ours")
    (outside / "file").write_text("theirs")
    (folder / "named").symlink_to(home)
    links: dict[str, Path | str] = {
        "straight": outside / "file",
        "up": "../outside/file",
        "folder": outside,
        "by-below": "below/../../outside/file",
        "by-folder": "folder/file",
        "and-back": "../home/file",
        "round": "round",
        "inside": "file",
        "absolute": home / "file",
        "twice": "absolute",
        "below/up": "../file",
        "self": ".",
    }
    for name, target in links.items():
        (home / name).symlink_to(target)
    return home


@needs_links
@pytest.mark.parametrize("name", ["straight", "up", "folder/file", "by-below", "by-folder", "and-back", "round"])
@pytest.mark.parametrize("root", ["home", "named"])
def test_a_look_follows_no_link_that_leads_out(tmp_path: Path, root: str, name: str) -> None:
    linked(tmp_path)
    path = tmp_path / root / name
    with kept_in(str(tmp_path / root), str(tmp_path / root)):
        with pytest.raises(OSError):
            read_regular(path, 9)
        assert not is_file(path)
        assert leads_out(path)
    assert not leads_out(path)
    if name != "round":
        assert is_file(path)


@needs_links
@pytest.mark.parametrize("name", ["file", "inside", "absolute", "twice", "below/up", "self/self/self/file"])
@pytest.mark.parametrize("root", ["home", "named"])
def test_a_look_follows_links_that_stay(tmp_path: Path, root: str, name: str) -> None:
    linked(tmp_path)
    path = tmp_path / root / name
    with kept_in(str(tmp_path / root), str(tmp_path / root)):
        assert read_regular(path, 9) == b"ours"
        assert is_there(path)


@needs_links
def test_nothing_outside_is_touched_to_find_out_that_a_link_leads_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stat below an automounter, or on a Windows share, would contact another machine."""
    home = linked(tmp_path)
    touched: list[str] = []
    for name in ("stat", "lstat", "readlink"):
        function = getattr(os, name)

        def note(path: str, *rest: object, function: Callable[..., object] = function, **more: object) -> object:
            touched.append(os.fspath(path))
            return function(path, *rest, **more)

        monkeypatch.setattr(os, name, note)
    with kept_in(str(home), str(home)):
        for each in ("straight", "up", "folder/file", "by-below", "by-folder"):
            assert not is_file(home / each)
    assert not [path for path in touched if path.startswith(str(tmp_path / "outside"))]


@needs_links
def test_a_search_in_links_that_go_round_ends(tmp_path: Path) -> None:
    home = linked(tmp_path)
    for name in "abcdefgh":
        (home / name).symlink_to(".")
    found = find_below(home, "/".join(["*"] * 30) + "/file")
    assert len(found) <= ENTRIES_MOST
    assert list(files_below(home))


def test_a_pattern_finds_what_is_below_and_no_packages(tmp_path: Path) -> None:
    for path in ("apps/web", "apps/web/node_modules/vite", "apps/deep/er", "node_modules/vite"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "package.json").write_text("{}")

    def found(pattern: str) -> list[str]:
        return [os.path.relpath(path, tmp_path).replace(os.sep, "/") for path in find_below(tmp_path, pattern)]

    assert found("apps/*/package.json") == ["apps/web/package.json"]
    assert found("./apps/web/package.json") == ["apps/web/package.json"]
    assert found("**/package.json") == ["apps/deep/er/package.json", "apps/web/package.json"]
    assert found("apps/**/package.json") == ["apps/deep/er/package.json", "apps/web/package.json"]
    assert found("../*/package.json") == []
    assert found("") == []


def test_of_a_huge_folder_so_many_names_are_listed(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / str(number)).touch()
    assert len(list_folder(tmp_path, 7)) == 7
    assert len(list_folder(tmp_path)) == 30


@pytest.mark.parametrize("depth", [2_000, 100_000])
@pytest.mark.parametrize("text", ['{"bin":', '{"a":[', "["])
def test_a_manifest_that_is_nested_deeply_is_no_manifest(tmp_path: Path, text: str, depth: int) -> None:
    vite = tmp_path / "node_modules" / "vite"
    vite.mkdir(parents=True)
    for folder in (tmp_path, vite):
        (folder / "package.json").write_text(text * depth)
    assert read_package(str(tmp_path)) == {}
    assert find_vite(str(tmp_path)) is None
    with pytest.raises(TauriConfigError, match="nested too deeply"):
        parse_file(tmp_path / "package.json")


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.json", '{"port": ' + "9" * 10_000 + "}", "that number has too many digits"),
        ("a.toml", "port = " + "9" * 10_000, "a number has too many digits"),
        ("b.toml", "a = " + "[" * 10_000, "nested too deeply"),
        ("c.toml", "[" + "a." * 5_000 + "a]", "nested too deeply"),
    ],
)
def test_a_configuration_that_python_itself_refuses_is_a_fault_of_the_file(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(TauriConfigError, match=reason):
        parse_file(tmp_path / name)


@needs_links
@pytest.mark.parametrize("kind", ["git", "workspace", "alone"])
def test_a_look_is_kept_in_the_repository_else_in_the_workspace(tmp_path: Path, kind: str) -> None:
    app = tmp_path / "top" / "apps" / "web"
    app.mkdir(parents=True)
    if kind == "git":
        (tmp_path / "top" / ".git").mkdir()
    elif kind == "workspace":
        (tmp_path / "top" / "package.json").write_text('{"workspaces": ["apps/*"]}')
    assert home_of(str(app)) == os.path.realpath(app if kind == "alone" else tmp_path / "top")


@needs_links
def test_a_program_of_the_project_is_not_found_by_any_name(tmp_path: Path) -> None:
    root, user = tmp_path / "top" / "apps" / "web", tmp_path / "bin"
    own = [tmp_path / "top" / "node_modules" / ".bin", root / "bin"]
    for folder in (*own, user):
        folder.mkdir(parents=True)
        (folder / "node").write_text("#!/bin/sh\n")
        (folder / "node").chmod(0o755)
    (tmp_path / "also").symlink_to(own[1])
    path = os.pathsep.join(map(str, (*own, tmp_path / "also", user)))
    assert on_path("node", path) == str(own[0] / "node")
    with looking_at(str(root)):
        assert on_path("node", path) == str(user / "node")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no timer that can interrupt a regex search")
def test_a_look_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking, "LIMIT_S", 0.01)
    with pytest.raises(ConfigurationError, match=r"was not understood within 0\.01 s"), looking_at(str(tmp_path)):
        re.match(r"(a|a)*b", "a" * 40)
    with looking_at(str(tmp_path)):
        pass
