"""Our messages to stderr: they arrive whole if a process reads them, and never block if none does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.waiting import WAIT_S

if sys.platform == "win32":
    pytest.skip("on Windows a program cannot tell whether a pipe has room", allow_module_level=True)


def say(text: str, stderr: int) -> subprocess.Popen[bytes]:
    """Start a process that prints the text twice as an error."""
    code = f"from sidecar.diagnostics import say; say('error', {text}); say('error', {text})"
    return subprocess.Popen([sys.executable, "-c", code], stderr=stderr)


def fill(end: int) -> None:
    """Write to a pipe until nothing more fits."""
    os.set_blocking(end, False)
    try:
        while True:
            os.write(end, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(end, True)


def test_where_nobody_reads_and_nothing_more_fits_it_is_dropped() -> None:
    unread, end = os.pipe()
    try:
        fill(end)
        with say("'of interest'", end) as process:
            try:
                assert process.wait(WAIT_S) == 0
            finally:
                process.kill()  # not reaped yet, so the pid is not reused
    finally:
        os.close(unread)
        os.close(end)


@pytest.mark.parametrize("size", [1, 4096, 10_000])
def test_a_message_that_a_pipe_has_room_for_arrives_whole(size: int) -> None:
    with say(f"'é' * {size}", subprocess.PIPE) as process:
        _, said = process.communicate(timeout=WAIT_S)
    assert said.decode() == f"sidecar error: {'é' * size}\n" * 2


def test_a_stderr_that_is_a_file_takes_all(tmp_path: os.PathLike[str]) -> None:
    path = os.path.join(tmp_path, "stderr")
    with open(path, "wb") as file, say("'x' * 100_000", file.fileno()) as process:
        assert process.wait(WAIT_S) == 0
    assert os.path.getsize(path) == 2 * (len("sidecar error: \n") + 100_000)
