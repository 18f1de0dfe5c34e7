"""Another user takes Vite's port whenever it is free for a moment. No window ever sees that user's page.

The app owns the address of its page, so the thief can only get the port behind it. The app then connects to the thief,
finds out whose listener it is, and sends it nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("WebKitWebDriver, which drives the windows, is on Linux only", allow_module_level=True)

import logging
import os
import re
import signal
import subprocess
import threading

from tests.app.support import WINDOW_WAIT_S, Window
from tests.support.waiting import until

pytestmark = pytest.mark.vite

THIEF = Path(__file__).resolve().parents[1] / "children" / "window_thief.py"
NOBODY = 65534
TRIES = int(os.environ.get("SIDECAR_THIEF_TRIES", "2"))
"""Repetitions of each action. The documentation's figures come from 50."""


class Thief:
    """Takes the port that it is given, and keeps it until it gets another one."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.said: list[str] = []
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        until(lambda: "up" in self.said, "the thief", WINDOW_WAIT_S)

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.said.append(line.strip())

    def end(self) -> None:
        self._process.kill()
        self._listener.join()

    def after(self, port: int) -> None:
        """Let it take this port from now on; 0 is none."""
        assert self._process.stdin
        self._process.stdin.write(f"{port}\n")
        self._process.stdin.flush()

    def holds(self, port: int) -> bool:
        return f"held {port}" in self.said

    def asked(self, port: int) -> list[str]:
        """Return the requests that it got at this port.

        Two kinds do not count. The method of the sidecar's own probe is a question mark. Vite's client connects past
        the app if its WebSocket to the app has failed: docs/threat-model.md names that gap. Requests that the app
        relays have the app's address as their host.
        """
        past_us = re.compile(rf"asked GET /\?token=\S* HTTP/1\.1 to \S+:{port}")
        asked = [line for line in self.said if line.startswith("asked ") and not line.startswith("asked ? ")]
        return [line for line in asked if not past_us.fullmatch(line)]


@contextmanager
def thief() -> Iterator[Thief]:
    with subprocess.Popen(
        [sys.executable, "-I", "-S", str(THIEF), str(NOBODY)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        other = Thief(process)
        try:
            yield other
        finally:
            other.end()


def crash(seen: Window) -> None:
    def struck() -> bool:
        with suppress(AssertionError):  # there is none: the restart of the last turn goes on
            seen.app.tree.hit(seen.app.vite(), signal.SIGKILL)
            return True
        return False

    until(struck, "a dev server to kill", WINDOW_WAIT_S)


def save(seen: Window) -> None:
    """Save the configuration: Vite closes its listener and opens it again, in the same process."""
    config = seen.app.project / "vite.config.ts"
    fresh = config.with_suffix(".new")
    fresh.write_text(config.read_text() + "// saved\n")
    fresh.replace(config)  # atomically, so that Vite never reads a part of it


def restart(seen: Window) -> None:
    call(seen, "restart")


def stop(seen: Window) -> None:
    call(seen, "stop")


def restarts(seen: Window) -> int:
    """Return how many starts of Vite the page knows of, including those in the same process."""
    seen_so_far: int = seen.script("return JSON.parse(sessionStorage.getItem('sidecar-example/1')).restarts")
    return seen_so_far


def call(seen: Window, command: str) -> None:
    """Call a command of the plugin without waiting for it."""
    seen.until(
        lambda: seen.script(
            f"window.__TAURI_INTERNALS__.invoke('plugin:sidecar|{command}', {{ service: 'web' }}).catch(() => 0);"
            "return true"
        ),
        "a page that calls the plugin",
    )


def reload(seen: Window) -> None:
    """Load the document and all that it needs, as a second window would."""
    seen.until(lambda: seen.script("location.reload(); return true"), "a page that reloads itself")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
@pytest.mark.parametrize("deed", [crash, save, stop, restart], ids=lambda deed: deed.__name__)
def test_a_thief_of_the_dev_servers_port_is_never_asked_for_anything(
    window: Callable[..., Window], deed: Callable[[Window], None]
) -> None:
    seen = window().await_app()
    address = f"http://127.0.0.1:{seen.app.port}/"
    stolen = 0
    with thief() as other:
        for _ in range(TRIES):
            port, before = seen.app.await_vite_port(), restarts(seen)
            other.said.clear()
            other.after(port)
            deed(seen)
            reload(seen)
            if deed is stop:
                until(lambda: other.holds(port), "the thief at the port", WINDOW_WAIT_S)  # noqa: B023  at once
            # if the thief was quicker, Vite needs another port or another start
            seen.until(lambda: other.holds(port) or restarts(seen) != before, "a change")  # noqa: B023
            if other.holds(port):
                stolen += 1
                reload(seen)
                call(seen, "restart")
            assert seen.text("stolen") is None
            assert seen.url.startswith(address)
            seen.until(lambda: seen.text("state") in {"Ready", "Restarted"}, "the page again")
            assert other.asked(port) == []
            other.after(0)
        logging.getLogger(__name__).info("%s: %d of %d ports were stolen", deed.__name__, stolen, TRIES)
    seen.await_app()
