"""A frozen sidecar whose unpacked folder was removed or replaced: what it may still look up, import and remove."""

from __future__ import annotations

import importlib
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("users and the loader of Linux", allow_module_level=True)

import pwd

from sidecar.errors import PortUnavailableError
from sidecar.host import frozen as bundle
from sidecar.host.linux import names
from sidecar.services import ports

NO_USER = 54_321


@pytest.fixture
def unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "_MEI0001abcdef"
    folder.mkdir()
    monkeypatch.setattr(sys, "_MEIPASS", str(folder), raising=False)
    return folder


@pytest.fixture
def no_library(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the folder, and make calls that could load a library raise."""
    unpacked.rmdir()

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("this call may load a library")

    for module, name in ((pwd, "getpwuid"), (socket, "getaddrinfo")):
        monkeypatch.setattr(module, name, refuse)


def test_a_folder_is_intact_until_it_is_gone(unpacked: Path) -> None:
    assert bundle.is_intact()
    unpacked.rmdir()
    assert not bundle.is_intact()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_not_ours_and_not_removed(unpacked: Path) -> None:
    """That user could put a link into it during the removal."""
    (unpacked / "precious").touch()
    os.chown(unpacked, NO_USER, NO_USER)
    assert not bundle.is_intact()
    assert bundle.remove(str(unpacked)), "ours is gone"
    assert (unpacked / "precious").exists()


def test_without_an_unpacked_folder_nothing_can_be_stolen() -> None:
    assert bundle.unpacked_folder() is None
    assert bundle.is_intact()


@pytest.mark.usefixtures("no_library")
def test_a_user_is_named_without_loading_a_library() -> None:
    assert names.user_name(0) == "root"
    assert names.user_name(NO_USER) == str(NO_USER)


@pytest.mark.usefixtures("no_library")
def test_a_host_is_found_without_loading_a_library() -> None:
    assert (socket.AF_INET, "127.0.0.1") in ports.resolve("localhost", 0)
    with pytest.raises(PortUnavailableError, match="no such name"):
        ports.resolve("", 0)


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("127.0.0.1", [(socket.AF_INET, "127.0.0.1")]),
        ("0:0::1", [(socket.AF_INET6, "::1")]),
        ("0.0.0.0", [(socket.AF_INET, "0.0.0.0")]),
    ],
)
def test_a_literal_address_is_not_looked_up(
    host: str, found: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "getaddrinfo")
    assert ports.resolve(host, 1) == found


@pytest.fixture
def restored() -> object:
    hooks = sys.path_hooks[:]
    yield None
    sys.path_hooks[:] = hooks
    sys.path_importer_cache.clear()


class PyiFrozenFinder:
    """Plays PyInstaller's finder, which finds modules inside the executable."""

    @classmethod
    def path_hook(cls, path: str) -> object:
        raise ImportError(path)


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("frozen", [True, False])
def test_a_sealed_sidecar_imports_nothing_from_a_folder(
    frozen: bool, unpacked: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (unpacked / "planted_module.py").write_text("raise SystemExit('the planted module ran')")
    monkeypatch.syspath_prepend(str(unpacked))
    hook: Callable[[str], object] = PyiFrozenFinder.path_hook
    if frozen:
        monkeypatch.setattr(sys, "path_hooks", [hook, *sys.path_hooks])
    else:
        monkeypatch.delattr(sys, "_MEIPASS")
    bundle.seal()
    with pytest.raises(ModuleNotFoundError if frozen else SystemExit):
        importlib.import_module("planted_module")
    assert not frozen or sys.path_hooks == [hook]
