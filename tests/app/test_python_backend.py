"""The example with a Python backend, in development: a real FastAPI beside a real Vite, in a real window."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

if sys.platform != "linux":
    pytest.skip("WebKitWebDriver, which drives the windows, is on Linux only", allow_module_level=True)

import os
import shutil
import signal
import socket
import threading
from http.client import HTTPException
from urllib.error import URLError

from tests.app import notes, support
from tests.app.notes import Notes, NotesWindow, ask
from tests.app.support import Screen
from tests.e2e.support import WAIT_S, foreign_server, listens

pytestmark = pytest.mark.vite

PREFERRED = 8000
"""The backend's port in tauri.conf.json."""

ALL = "SIDECAR_ALL_BACKEND"
whole = pytest.mark.skipif(ALL not in os.environ, reason=f"takes long: {notes.HINT}")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the app as ``tauri dev`` would. After the other example's build, only its own crate is compiled."""
    reason = notes.missing()
    if reason is not None:
        pytest.skip(reason)
    made = support.build(notes.NOTES, notes.NAME)
    folder = tmp_path_factory.mktemp("notes")
    for name in (made.name, support.sidecar_of(notes.NOTES)):
        shutil.copy2(made.with_name(name), folder)
    return folder / made.name


@pytest.fixture(scope="session")
def screen(built: Path) -> Iterator[Screen]:
    """Start a screen without waiting for the other example's build."""
    with Screen() as screen:
        yield screen


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return notes.copy_notes(tmp_path / "project")


@pytest.fixture
def window(built: Path, project: Path, screen: Screen, tmp_path: Path) -> Iterator[Callable[[], NotesWindow]]:
    """Start apps of the project, drive their windows, and end them with the test."""
    with ExitStack() as stack:

        def start() -> NotesWindow:
            app = stack.enter_context(Notes(built, project, screen, tmp_path))
            window = NotesWindow(app)
            stack.enter_context(window)
            return window

        yield start


def test_page_finds_a_ready_backend_and_sigkill_leaves_a_whole_database(
    window: Callable[[], NotesWindow],
) -> None:
    """The page's service depends on the backend, and that on the migration. So the page never sees a failed request."""
    seen = window().await_connected()
    seen.write("before the end")
    assert seen.events == ["connected"]
    assert seen.text("origin") == seen.address
    told = seen.app.terminal()
    assert "migrate » done" in told
    assert any(line.startswith(f"api     » ready at {seen.address}/ after ") for line in told), told
    assert any(line.startswith(("api     │ ", "api     ┃ ")) and "Uvicorn running on" in line for line in told), told
    port = int(seen.address.rsplit(":", 1)[1])
    seen.app.hit(signal.SIGKILL)
    seen.app.assert_nothing_left(port)
    assert seen.app.written() == ["before the end"]


@whole
def test_the_page_recovers_from_a_typo_in_the_backend_once_it_is_mended(
    window: Callable[[], NotesWindow], project: Path
) -> None:
    seen = window().await_connected()
    reloader, address = seen.app.backend(), seen.address
    source = project / "backend" / "notes" / "web.py"
    good = source.read_text()
    source.write_text(good.replace("return notes.last(20)", "return notes.last(20"))
    seen.until(lambda: "the backend does not answer" in seen.events, "the typo's effect")
    source.write_text(good.replace("return notes.last(20)", "return ['mended', *notes.last(20)]"))
    seen.until(lambda: seen.notes == ["mended"], "the mended backend")
    assert seen.app.backend() == reloader
    assert seen.address == address
    assert seen.events == ["connected", "the backend does not answer", "connected"]


@whole
def test_a_backend_that_is_killed_is_back_at_the_same_address(window: Callable[[], NotesWindow]) -> None:
    seen = window().await_connected()
    seen.write("before")
    victim, address, token = seen.app.backend(), seen.address, seen.token()
    seen.app.tree.hit(victim, signal.SIGKILL)
    seen.until(lambda: seen.events == ["connected", "the backend does not answer", "connected"], "the backend again")
    seen.write("after")
    assert seen.notes == ["after", "before"]
    assert (seen.address, seen.token()) == (address, token)
    assert seen.app.backend() != victim


@whole
def test_notice_of_a_given_up_backend_can_be_dismissed(
    window: Callable[[], NotesWindow],
) -> None:
    seen = window().await_connected()
    text = "return document.getElementById('sidecar-notices')?.shadowRoot.textContent ?? ''"

    def strike() -> bool:
        for process in seen.app.backends():
            with suppress(ProcessLookupError):  # it has just ended
                seen.app.tree.hit(process, signal.SIGKILL)
        return "api failed." in seen.script(text)

    seen.until(strike, "the notice")
    assert any(line.startswith("api     » failed: ") for line in seen.app.terminal())
    seen.script("document.getElementById('sidecar-notices').shadowRoot.querySelector('button').click()")
    assert seen.script(text) == ""
    seen.web.refresh()  # a page that loads after the failure is told, too
    seen.until(lambda: "api failed." in seen.script(text), "the notice again")


@whole
def test_where_the_backends_port_is_taken_it_has_another_and_the_page_knows(
    window: Callable[[], NotesWindow],
) -> None:
    with ExitStack() as stack:
        if not listens(PREFERRED):
            stack.enter_context(foreign_server("127.0.0.1", PREFERRED))
        seen = window().await_connected()
        assert seen.address != f"http://127.0.0.1:{PREFERRED}"
        seen.write("at another port")
        assert listens(PREFERRED)
        assert seen.events == ["connected"]


@whole
def test_only_the_apps_page_can_use_the_backend(window: Callable[[], NotesWindow]) -> None:
    seen = window().await_connected()
    url, token = f"{seen.address}/notes", seen.token()
    assert len(token) == 64
    assert ask(url, token) == (200, [])
    for wrong in (None, "wrong", f"{token[:-1]}!", f"{token}x"):
        assert ask(url, wrong)[0] == 401, wrong
        assert ask(url, wrong, note="foreign")[0] == 401, wrong
        assert handshake(seen.address, wrong) == 403, wrong
    assert handshake(seen.address, token) == 101
    # The page may read a refusal, too; a page from elsewhere reads nothing, even with the token.
    told = seen.script(
        "return fetch(arguments[0], { headers: { authorization: 'Bearer wrong' } }).then(({ status }) => status)", url
    )
    assert told == 401
    _, headers = ask(url, token, origin="https://elsewhere.example")
    assert "access-control-allow-origin" not in {name.lower() for name in headers}
    assert seen.notes == []


def handshake(address: str, token: str | None) -> int:
    """Try to open the stream; return the answer's status."""
    host = address.removeprefix("http://")
    words = "notes" if token is None else f"notes, token.{token}"
    head = [
        "GET /stream HTTP/1.1",
        f"Host: {host}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Sec-WebSocket-Protocol: {words}",
    ]
    with socket.create_connection(("127.0.0.1", int(host.split(":")[1])), WAIT_S) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        return int(connection.makefile("rb").readline().split()[1])


@whole
def test_what_was_confirmed_before_SIGKILL_is_in_the_database(window: Callable[[], NotesWindow]) -> None:
    """The app dies while notes are written as fast as possible."""
    seen = window().await_connected()
    url, token = f"{seen.address}/notes", seen.token()
    port = int(seen.address.rsplit(":", 1)[1])
    confirmed: list[str] = []
    enough = threading.Event()

    def write() -> None:
        with suppress(URLError, OSError, HTTPException):  # the app has ended
            while True:
                text = f"note {len(confirmed)}"
                assert ask(url, token, note=text)[0] == 201
                confirmed.append(text)
                if len(confirmed) == 20:
                    enough.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert enough.wait(WAIT_S)
    finally:
        seen.app.hit(signal.SIGKILL)
        writer.join()
    seen.app.assert_nothing_left(port)
    written = seen.app.written()
    assert written[: len(confirmed)] == confirmed
    assert len(written) - len(confirmed) <= 1
    again = window().await_connected()
    again.until(lambda: again.notes[:1] == written[-1:], "the last note")
