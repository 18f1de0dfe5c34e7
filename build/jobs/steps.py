"""The steps of a job, and its summary."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET

from build.jobs.paths import BUILD, PYTHON, ROOT, VENV, WINDOWS
from build.jobs.tools import say, which

Words = Sequence[str | Path]
"""The words of a command."""

MUST_NOT_SKIP = "SIDECAR_MUST_NOT_SKIP"
"""A variable with texts, separated by semicolons. A skip whose reason contains one fails the job."""

SLOW_S = 5.0
"""The summary names only tests slower than this."""
SLOWEST = 15
"""Most tests that the summary names."""


@dataclass
class Done:
    """The results of steps."""

    steps: list[tuple[str, str, float]] = field(default_factory=list)
    """Name, result and seconds of each step."""
    skipped: list[str] = field(default_factory=list)
    tests: list[tuple[float, str]] = field(default_factory=list)
    """Seconds and name of each test."""

    def add(self, other: Done) -> None:
        """Add the results of other steps."""
        self.steps += other.steps
        self.skipped += other.skipped
        self.tests += other.tests


class Steps:
    """The steps of a job. Each is announced, its output is streamed, and it is timed. A failure does not stop the next.

    If there is a ``log``, the output goes there.
    """

    def __init__(self, env: dict[str, str], log: IO[str] | None = None) -> None:
        """Begin with no step."""
        self.env = env
        self.log = log
        self.done = Done()
        self.started = time.monotonic()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(
        self, name: str, command: Words, *, quiet: bool = False, variables: Mapping[str, str] | None = None
    ) -> None:
        """Run a command in the checkout's root. ``quiet`` leaves out the announcement, not the output."""
        if not quiet:
            print(f"\n== {name}", file=self.log, flush=True)
        began = time.monotonic()
        env = {**self.env, **(variables or {})}
        # Windows would look for it on our own PATH, and would not find npm.cmd.
        words = [which(str(command[0]), env) or command[0], *command[1:]]
        try:
            with self._lock:
                if self._stopped:
                    self.done.steps.append((name, "not begun", 0.0))
                    return
                self._process = subprocess.Popen(
                    words,
                    cwd=ROOT,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=self.log,
                    stderr=subprocess.STDOUT if self.log else None,
                )
            code = self._wait(self._process)
        except FileNotFoundError:
            print(f"{command[0]} is not there: delete {VENV.name} and start again.", file=self.log, flush=True)
            code = 127
        result = "ok" if code == 0 else f"FAILED ({code})"
        self.done.steps.append((name, result, time.monotonic() - began))

    @staticmethod
    def _wait(process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()  # a terminal signals it, too; a kill of this process alone does not
            process.wait()
            raise

    def stop(self) -> None:
        """End the step that runs in another thread, and begin no further one."""
        with self._lock:
            self._stopped = True
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()

    def skip(self, name: str, why: str) -> None:
        """Remember a step that was left out."""
        self.done.steps.append((name, "skipped", 0.0))
        self.done.skipped.append(f"{name}: {why}")

    def unchanged(self, name: str) -> None:
        """Remember a step that has passed before with exactly the same input."""
        self.done.steps.append((name, "ok (unchanged since it passed)", 0.0))

    def failed(self) -> list[str]:
        """Return the names of the steps that failed so far."""
        return [name for name, result, _ in self.done.steps if result.startswith("FAILED")]

    def summary(self) -> int:
        """Print each step with its result and time, the slow tests and the skips; return the exit code."""
        say("\n== summary")
        width = max(len(name) for name, _, _ in self.done.steps)
        for name, result, seconds in self.done.steps:
            say(f"{name:<{width}}  {seconds:7.1f} s  {result}")
        for seconds, name in sorted(self.done.tests, reverse=True)[:SLOWEST]:
            if seconds >= SLOW_S:
                say(f"slow: {seconds:7.1f} s  {name}")
        for line in self.done.skipped or ["nothing"]:
            say(f"skipped: {line}")
        failed = self.failed()
        failed += [f"skipped here, and must not be: {line}" for line in self.done.skipped if must_not_skip(line)]
        seconds = time.monotonic() - self.started
        say(f"{'FAILED: ' + ', '.join(failed) if failed else 'All is well'} ({seconds:.1f} s)")
        return 1 if failed else 0


def pytest_step(
    steps: Steps, name: str, arguments: Words, *, program: Words = (), variables: Mapping[str, str] | None = None
) -> None:
    """Run tests, and remember each test's time and the skips. ``program`` runs pytest."""
    with tempfile.TemporaryDirectory(prefix="sidecar-test-") as folder:
        report = Path(folder) / "junit.xml"
        command: Words = [
            *(program or (PYTHON, "-m", "pytest", "-ra", "--color=no")),
            f"--junitxml={report}",
            *arguments,
        ]
        steps.run(name, command, variables=variables)
        steps.done.add(read_report(report, name))


@contextmanager
def frozen(steps: Steps) -> Iterator[dict[str, str]]:
    """Freeze the sidecar for some tests; yield the variable that names it to them, or nothing if that failed."""
    # On Windows a virus scanner may still read the binary at the end.
    with tempfile.TemporaryDirectory(prefix="sidecar-frozen-", ignore_cleanup_errors=WINDOWS) as folder:
        steps.run("freeze", [PYTHON, BUILD / "freeze.py", "--out", folder])
        made = list(Path(folder).iterdir())
        yield {"SIDECAR_BINARY": str(made[0])} if made else {}


def read_report(report: Path, name: str) -> Done:
    """Read pytest's report: each test's time, and the skips, grouped by reason."""
    done = Done()
    if not report.exists():
        return done
    reasons: Counter[str] = Counter()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 (pytest wrote it a moment ago)
        done.tests.append((float(case.get("time", "0")), f"{case.get('classname')}::{case.get('name')} ({name})"))
        for skip in case.iter("skipped"):
            if skip.get("type") == "pytest.skip":
                reasons[skip.get("message") or "no reason given"] += 1
    done.skipped = [f"{count} test{'s' if count > 1 else ''}: {reason}" for reason, count in reasons.most_common()]
    return done


def must_not_skip(line: str) -> bool:
    """Tell whether SIDECAR_MUST_NOT_SKIP forbids this skip."""
    wanted = (it.strip() for it in os.environ.get(MUST_NOT_SKIP, "").split(";"))
    return any(it in line for it in wanted if it)
