"""The process that started ``sidecar dev`` ends: a script, or the shell of a closed terminal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

assert sys.platform == "linux"  # for mypy

from tests.commands.dev.support import SERVICE, Watched, ask, command, environment
from tests.support.waiting import WAIT_S

IN_BACKGROUND = '"$@" & echo "pid $!"; read -r _'
"""A script that starts it in the background, and ends once its stdin has a line."""

UNDER_NOHUP = 'nohup "$@" & echo "pid $!"; read -r _'


class Script:
    """A shell that runs ``text`` with the sidecar's command line as its arguments."""

    def __init__(self, text: str, folder: Path, *words: str) -> None:
        self._process = subprocess.Popen(
            ["sh", "-c", text, "sh", *command(*words, "--", *SERVICE)],
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self.pid = int(self.wait(r"^pid (\d+)")[1])
        self.url = self.wait(r"is ready on (http://\S+) ")[1]
        self.tree = Watched(self.pid)

    def wait(self, pattern: str) -> re.Match[str]:
        """Read lines of its output until one matches the regular expression; return the match."""
        while line := _pipe(self._process.stdout).readline():
            if found := re.search(pattern, line.decode()):
                return found
        raise AssertionError(f"timed out waiting for {pattern!r}: {self.errors()}")

    def end(self) -> None:
        """Let the script end, and wait for that."""
        _pipe(self._process.stdin).close()
        assert self._process.wait(WAIT_S) == 1, "read has met the end"

    def lives(self, word: str) -> None:
        """Assert that the service lives: it prints a word that arrives here."""
        ask(self.url, f"/say/{word}")
        self.wait(word)

    def errors(self) -> str:
        """Return stderr, once no process can write there any more."""
        return _pipe(self._process.stderr).read().decode()

    def close(self) -> None:
        self.tree.close()
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            _pipe(pipe).close()


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe


@pytest.fixture
def scripts(folder: Path) -> Iterator[list[Script]]:
    del folder
    made: list[Script] = []
    yield made
    for script in made:
        script.close()


def test_the_end_of_its_launcher_is_told_in_one_line(folder: Path, scripts: list[Script]) -> None:
    script = Script(IN_BACKGROUND, folder)
    scripts.append(script)
    script.end()
    script.tree.await_gone()
    (line,) = script.errors().splitlines()
    assert "the process that started 'sidecar dev' has ended, so its services were ended, too" in line
    assert "nohup" in line


def test_nohup_lets_it_outlive_its_launcher_and_SIGHUP(folder: Path, scripts: list[Script]) -> None:
    script = Script(UNDER_NOHUP, folder)
    scripts.append(script)
    script.end()
    os.kill(script.pid, signal.SIGHUP)
    for word in ("lilac", "mauve", "violet"):  # by then the signal was handled, if it is handled at all
        script.lives(word)
    script.tree.kill(script.pid, signal.SIGTERM)
    script.tree.await_gone()
    assert "has ended, so its services" not in script.errors()


def test_a_parent_pid_is_watched_under_nohup_all_the_same(folder: Path, scripts: list[Script]) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as other:
        script = Script(UNDER_NOHUP, folder, "--parent-pid", str(other.pid))
        scripts.append(script)
        script.end()
        script.lives("lilac")
        _pipe(other.stdin).close()
        script.tree.await_gone()
