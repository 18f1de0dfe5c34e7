from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.services.package_json import LOCKS, RUN, find_manager


@pytest.mark.parametrize(("lock", "manager"), LOCKS.items())
def test_the_lock_file_tells_the_package_manager(tmp_path: Path, lock: str, manager: str) -> None:
    (tmp_path / lock).touch()
    front = tmp_path / "apps" / "front"
    front.mkdir(parents=True)
    assert find_manager(str(tmp_path), {}, None) == manager
    assert find_manager(str(front), {}, None) == manager


def test_a_lock_file_above_the_repository_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "yarn.lock").touch()
    (tmp_path / "app" / ".git").mkdir(parents=True)
    assert find_manager(str(tmp_path / "app"), {}, None) == "npm"


def test_the_package_manager_field_is_heard_first_and_the_command_last(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert find_manager(str(tmp_path), {}, "pnpm dev") == "pnpm"
    (tmp_path / "yarn.lock").touch()
    assert find_manager(str(tmp_path), {}, "pnpm dev") == "yarn"
    assert find_manager(str(tmp_path), {"packageManager": "bun@1.2.3"}, "pnpm dev") == "bun"


def test_each_manager_has_its_words_to_run_a_script() -> None:
    assert RUN == {"npm": "npm run", "pnpm": "pnpm", "yarn": "yarn", "bun": "bun run", "deno": "deno task"}
