"""Do what a browser does with a page of Vite: fetch files and receive hot updates. Also edit a source file."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import websocket

STEP_S = 60.0
"""Longest wait for one answer. The slowest so far was a cold Vite under Wine: 13 s."""
PAGE_BYTES = 8 << 20
"""Far more than any page or module of the example."""
SENTENCE = re.compile(r'(export const message = )"([^"\n]*)"')

REPLACE_TRIES = 50
REPLACE_AGAIN_S = 0.1
"""Windows cannot replace a file that is open. Vite reads one for milliseconds, a virus scanner for seconds."""

Message = dict[str, Any]
"""One decoded JSON object."""


class PageError(Exception):
    """The page gave a wrong answer or none; the message says which."""


def fetch(url: str) -> tuple[int, str]:
    """GET as a browser would; return status and text."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=STEP_S)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}", headers={"Accept": "*/*"})
        answer = connection.getresponse()
        return answer.status, answer.read(PAGE_BYTES).decode("utf-8", "replace")
    except OSError as problem:
        raise PageError(f"{url} could not be fetched: {problem}") from None
    finally:
        connection.close()


class HotUpdates:
    """The websocket over which Vite tells a page what has changed."""

    def __init__(self, url: str) -> None:
        """Connect as the page does, with the token in its client script."""
        parts = urlsplit(url)
        token = re.search(r'wsToken = "([^"]+)"', fetch(f"{url}@vite/client")[1])
        if token is None:
            raise PageError(f"{url}@vite/client has no websocket token: unknown version of Vite")
        try:
            self._socket = websocket.create_connection(
                f"ws://{parts.netloc}/?token={token[1]}",
                timeout=STEP_S,
                origin=f"http://{parts.netloc}",
                subprotocols=["vite-hmr"],
                # our own socket: the library's would use a proxy from the environment, and options that Wine lacks
                socket=socket.create_connection((parts.hostname, parts.port), timeout=STEP_S),
            )
        except (websocket.WebSocketException, OSError) as problem:
            raise PageError(f"Vite refused the websocket: {problem}") from None

    def __enter__(self) -> Self:
        """Wait for Vite's greeting. After that no update is missed."""
        self.hear("connected")
        return self

    def __exit__(self, *_: object) -> None:
        """Close the websocket."""
        self._socket.close()

    def hear(self, kind: str, path: str | None = None) -> Message:
        """Await the next message of this type (that updates ``path``). Raises ``PageError`` if none comes in time."""
        deadline = time.monotonic() + STEP_S
        while True:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                text = self._socket.recv()
            except websocket.WebSocketTimeoutException:
                raise PageError(f"Vite's websocket sent no such message within {STEP_S:g} s") from None
            except (websocket.WebSocketException, OSError) as problem:
                raise PageError(f"Vite's websocket failed: {problem}") from None
            if not text:
                raise PageError("Vite closed the websocket")
            message: Message = json.loads(text)
            paths = [update["path"] for update in message.get("updates", [])]
            if message["type"] == kind and (path is None or path in paths):
                return message


@contextmanager
def edited(path: Path, sentence: str) -> Iterator[None]:
    """Put another sentence into the source file within this context."""
    before = path.read_bytes()
    after, count = SENTENCE.subn(rf'\1"{sentence}"', before.decode("utf-8"))
    if count != 1:
        raise PageError(f"{path} has no line like: export const message = …")
    try:
        replace(path, after.encode("utf-8"))
        yield
    finally:
        if path.read_bytes() == after.encode("utf-8"):  # else somebody has edited it meanwhile: keep that edit
            replace(path, before)


def replace(path: Path, data: bytes) -> None:
    """Replace a file atomically: a reader finds the old content or the new one."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        fresh.write_bytes(data)
        fresh.chmod(path.stat().st_mode)
        for tries_left in reversed(range(REPLACE_TRIES)):
            try:
                fresh.replace(path)
                break
            except PermissionError:  # on Windows: another program has it open at this moment
                if not tries_left or sys.platform != "win32":
                    raise
                time.sleep(REPLACE_AGAIN_S)
    finally:
        fresh.unlink(missing_ok=True)
