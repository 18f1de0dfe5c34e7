"""Start the demo's two processes, read their output, and end them."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.page import STEP_S

ROOT = Path(__file__).resolve().parents[2]
AS_APP = "--as-the-app"
AS_STRANGER = "--as-a-stranger"

if sys.platform == "win32":
    APART = subprocess.CREATE_NEW_PROCESS_GROUP
else:
    APART = 0  # POSIX uses a new session instead


@contextmanager
def started(words: list[str], **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the demo in another role. The process ends with its stdin: at our death, or at the end of this block."""
    # in its own session or group: Ctrl-C goes only to us, and we end it
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).parent), *words],
        cwd=ROOT,
        env={**os.environ, **more},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        creationflags=APART,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def lines_of(process: subprocess.Popen[bytes]) -> queue.SimpleQueue[bytes]:
    """Return a queue of the process's lines, then empty bytes. A thread reads: Windows' select takes only sockets."""
    heard: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        for line in process.stdout or ():
            heard.put(line)
        heard.put(b"")

    threading.Thread(target=listen, daemon=True).start()
    return heard


def first_line(process: subprocess.Popen[bytes]) -> str:
    """Return the process's first line of output; empty if none comes in time."""
    try:
        return lines_of(process).get(timeout=STEP_S).decode().strip()
    except queue.Empty:
        return ""


def leave_with_stdin() -> None:
    """End this process when stdin ends."""
    while os.read(0, 4096):
        pass
    os._exit(0)
