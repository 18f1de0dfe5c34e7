"""Where a real app's sidecar unpacks itself, and what the window shows if it cannot."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("WebKitWebDriver, which drives the windows, is on Linux only", allow_module_level=True)

import signal

from tests.app.support import App, Window
from tests.faults.test_system_surroundings import namespaces, within
from tests.frozen.test_temporary import mounted

pytestmark = pytest.mark.vite

NOTE_FAILURE = """
const { invoke, transformCallback } = window.__TAURI_INTERNALS__;
const handler = transformCallback(() => { document.documentElement.dataset.again = "yes"; });
return invoke("plugin:event|listen", { event: "sidecar://gone", target: { kind: "Any" }, handler });
"""
"""Has the page note that the sidecar failed again: what it shows does not tell the second failure from the first."""


def test_it_unpacks_into_the_apps_cache_and_services_get_the_users_tmpdir(
    app: Callable[..., App], tmp_path: Path
) -> None:
    users = tmp_path / "temporary"
    users.mkdir()
    one = app(TMPDIR=str(users)).start().await_page()
    assert one.vite().environ()["TMPDIR"] == str(users)
    assert "SIDECAR_USERS_TMPDIR" not in one.vite().environ()
    assert len(one.unpacked()) == 1
    assert list(users.glob("_MEI*")) == []
    one.hit(signal.SIGKILL)
    one.assert_nothing_left()
    assert one.unpacked() == []


@namespaces
def test_where_no_folder_will_do_the_window_names_each_with_its_reason(app: Callable[..., App], tmp_path: Path) -> None:
    """Each further try must leave nothing either, or it would fill the disk further."""
    users, cache = tmp_path / "temporary", tmp_path / "cache"
    for folder in (users, cache):
        folder.mkdir()
    one = app(TMPDIR=str(users))
    one.prefix = within(f"{mounted(users, 'noexec')} && {mounted(cache, 'size=6m')}")
    left = [(users, "_MEI*"), (cache, "*/sidecar/*")]

    def check(seen: Window) -> None:
        said = seen.await_failure("unpacks itself")
        assert f"{users} is mounted noexec" in said
        assert "/sidecar has " in said
        assert "MB left" in said
        inside = Path(f"/proc/{one.main().pid}/root")
        assert [path for top, name in left for path in (inside / top.relative_to("/")).glob(name)] == []

    with Window(one) as seen:
        check(seen)
        seen.script(NOTE_FAILURE)
        seen.click("retry")
        seen.until(lambda: seen.script("return document.documentElement.dataset.again"), "the second failure")
        check(seen)
