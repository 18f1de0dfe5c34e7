"""The script that ends node when its stdin ends: node never loads it from a place where another user could plant it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sidecar.host import stdin_guard

FOREIGN = b"process.exit()"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("SIDECAR_STATE_DIR", str(folder))
    return folder


def test_node_gets_a_copy_in_the_state_folder(state: Path) -> None:
    place = Path(stdin_guard.place())
    assert place == state / stdin_guard.NAME
    assert place.read_bytes() == Path(stdin_guard.ORIGIN).read_bytes()
    if sys.platform != "win32":
        assert place.stat().st_mode & 0o777 == 0o600


def test_a_script_that_was_put_where_ours_came_from_is_never_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / "planted.cjs"
    planted.write_bytes(FOREIGN)
    monkeypatch.setattr(stdin_guard, "ORIGIN", str(planted))
    assert Path(stdin_guard.place()).read_bytes() == stdin_guard.SCRIPT != FOREIGN


@pytest.mark.parametrize("how", ["changed", "removed", "linked"])
def test_a_copy_that_is_not_the_script_any_more_is_replaced(how: str, tmp_path: Path) -> None:
    place = Path(stdin_guard.place())
    place.unlink()
    if how == "changed":
        place.write_bytes(FOREIGN)
    elif how == "linked":
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_bytes(FOREIGN)
        try:
            place.symlink_to(elsewhere)
        except OSError:
            pytest.skip("this user cannot create symbolic links")
    assert Path(stdin_guard.place()).read_bytes() == stdin_guard.SCRIPT
    assert not place.is_symlink()


def test_a_copy_that_is_right_is_not_written_again() -> None:
    place = stdin_guard.place()
    before = os.stat(place)
    assert os.stat(stdin_guard.place()).st_ino == before.st_ino
