"""Files of a project are read up to a bound, and only where they are files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sidecar.files import read_regular
from sidecar.launch import find_vite
from sidecar.services.project import read_package
from sidecar.tauri.project import TauriConfigError, read_text


def test_only_the_head_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a\r\nb" * 9)
    assert read_regular(tmp_path / "file", 4) == b"a\r\nb"


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        read_regular(tmp_path, 1)


def test_a_pipe_in_place_of_a_manifest_stops_nobody(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("no pipe lies in a folder there")
    os.mkfifo(tmp_path / "package.json")
    vite = tmp_path / "node_modules" / "vite"
    vite.mkdir(parents=True)
    os.mkfifo(vite / "package.json")
    assert read_package(str(tmp_path)) == {}
    assert find_vite(str(tmp_path)) is None
    with pytest.raises(TauriConfigError, match="cannot be read: it is no regular file"):
        read_text(tmp_path / "package.json")


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no endless file is there")
def test_an_endless_manifest_is_not_read(tmp_path: Path) -> None:
    vite = tmp_path / "node_modules" / "vite"
    vite.mkdir(parents=True)
    (vite / "package.json").symlink_to("/dev/zero")
    assert find_vite(str(tmp_path)) is None
